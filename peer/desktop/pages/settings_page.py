"""About you and this computer: identity, power, the network's address, the window itself."""

from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from PySide6.QtWidgets import QFileDialog, QLabel, QLineEdit

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.front_door import front_door
from peerllm.peer.desktop.login_start import LoginFile, login_file
from peerllm.peer.desktop.money import (
    PowerFault,
    PowerSettings,
    cost_per_million_tokens,
    read_price,
    read_watts,
)
from peerllm.peer.desktop.presentation import amount, shown_path
from peerllm.peer.desktop.settings import network_address
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import (
    Card,
    Choice,
    Page,
    Switch,
    button,
    copy_text,
    field,
    label,
    row,
    say,
    set_role,
)
from peerllm.peer.files import write_private

_THEMES: Final = ("system", "light", "dark")


def power_fault(fault: PowerFault) -> str:
    """What is wrong with a price or a power, and what to do."""
    return {
        "no_number": tr("Settings", "Type a number, for example 0.32."),
        "negative": tr(
            "Settings",
            "A price below 0 would mean that you are paid for using power. If power costs you "
            "nothing, type 0.",
        ),
        "not_positive": tr("Settings", "The power must be more than 0 watts."),
        "too_high": tr("Settings", "That is more than any price or power there is: check it."),
    }[fault.kind]


class PowerFields(Card):
    """What electricity costs here, and what the machine draws; used at first run, too."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Settings", "Power"),
            tr("Settings", "To set what hosting costs beside what it brings."),
        )
        self._desk = desk
        self.price = QLineEdit()
        self.price.setPlaceholderText(tr("Settings", "for example 0.32"))
        self.currency = QLineEdit()
        self.currency.setMaxLength(8)
        self.watts = QLineEdit()
        self.message = label("", "muted")
        self.message.hide()
        line = row(spacing=16)
        line.addLayout(field(tr("Settings", "Price of a kilowatt-hour"), self.price))
        line.addLayout(field(tr("Settings", "Currency"), self.currency))
        line.addLayout(field(tr("Settings", "Extra watts while answering"), self.watts))
        self.body.addLayout(line)
        note = tr(
            "Settings",
            "A plug-in meter tells the watts exactly. Without one: 10 to 25 for a laptop, 30 to "
            "80 for a desktop's processor, more with a graphics card.",
        )
        self.body.addWidget(label(note, "small"))
        self.body.addWidget(self.message)
        self.fill()
        for one in (self.price, self.currency, self.watts):
            one.editingFinished.connect(self.take)
            one.textEdited.connect(self._on_edit)

    def fill(self) -> None:
        """Show what is kept."""
        power = self._desk.settings.power
        self.price.setText("" if power.price_per_kwh is None else f"{power.price_per_kwh:g}")
        self.currency.setText(power.currency)
        self.watts.setText(f"{power.extra_watts:g}")

    def typed(self) -> PowerSettings | str:
        """What is typed, or what is wrong with it."""
        price, watts = read_price(self.price.text()), read_watts(self.watts.text())
        for found in (price, watts):
            if isinstance(found, PowerFault):
                return power_fault(found)
        values = {"price_per_kwh": price, "currency": self.currency.text().strip()}
        try:
            return msgspec.convert({**values, "extra_watts": watts}, PowerSettings)
        except msgspec.ValidationError:
            return tr("Settings", "A currency has 1 to 8 letters or signs.")

    def take(self) -> None:
        """Keep what is typed, if it is right."""
        found = self.typed()
        if isinstance(found, PowerSettings) and found != self._desk.settings.power:
            self._desk.change(power=found)
        self._on_edit()

    def say(self, sentence: str) -> None:
        """Show what follows from it."""
        say(self.message, sentence, "muted")

    def _on_edit(self, _text: str = "") -> None:
        found = self.typed()
        if isinstance(found, str):
            say(self.message, found, "waiting")
        else:
            self.say("")


def cost_sentence(tokens_per_second: float, power: PowerSettings) -> str:
    """What a million answer tokens cost in power on this computer."""
    cost = cost_per_million_tokens(tokens_per_second, power)
    if cost is None:
        return ""
    sentence = tr(
        "Settings",
        "At {rate} tokens a second, a million answer tokens take {hours} hours and cost about "
        "{cost} in power.",
    )
    return sentence.format(
        rate=f"{tokens_per_second:.0f}",
        hours=f"{1_000_000 / tokens_per_second / 3600:.1f}",
        cost=amount(cost, power.currency),
    )


class SettingsPage(Page):
    """Who this host is, and how the window behaves."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Settings", "Settings"))
        self._desk = desk
        self._peer_id = ""
        self.body.addWidget(self._identity())
        self.power = PowerFields(desk)
        self.body.addWidget(self.power)
        self.body.addWidget(self._prices())
        self.body.addWidget(self._network())
        self.body.addWidget(self._window())
        self.body.addStretch(1)

    def _identity(self) -> Card:
        card = Card(tr("Settings", "This computer"))
        self._id = label("")
        self._facts = label("", "muted")
        self.copy_button = button(tr("Settings", "Copy host ID"), "plain", self._copy)
        card.body.addWidget(label(tr("Settings", "Host ID: what a network admits you by"), "muted"))
        card.body.addWidget(self._id)
        card.body.addWidget(self._facts)
        card.body.addLayout(row(self.copy_button, None))
        return card

    def _prices(self) -> Card:
        card = Card(
            tr("Settings", "The network's charter"),
            tr(
                "Settings",
                "A folder with what the network's stewards signed. Once the signatures are "
                "verified, its prices give an estimate of earnings, and the network's models are "
                "compared with it.",
            ),
        )
        self.prices_line = label("", "muted")
        self.choose_charter = button(tr("Settings", "Choose folder …"), "plain", self._choose)
        card.body.addWidget(self.prices_line)
        card.body.addLayout(row(self.choose_charter, None))
        return card

    def _network(self) -> Card:
        card = Card(
            tr("Settings", "Chat with the network"),
            tr("Settings", "The address of a coordinator's API, and your key for it."),
        )
        self.address = QLineEdit(self._desk.settings.network_url)
        self.address.setPlaceholderText("https://…/v1")
        self.key = QLineEdit(self._desk.settings.network_key)
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        card.body.addLayout(field(tr("Settings", "Address"), self.address))
        kept = tr("Settings", "Kept in a file that only you can read.")
        card.body.addLayout(field(tr("Settings", "API key"), self.key, kept))
        self.network_message = label("", "waiting")
        self.network_message.hide()
        card.body.addWidget(self.network_message)
        self.keep_network = button(tr("Settings", "Keep"), "plain", self._keep_network)
        card.body.addLayout(row(self.keep_network, None))
        return card

    def _window(self) -> Card:
        card = Card(tr("Settings", "Window"))
        self.theme = Choice(self._desk.palette)
        self.theme.addItems(
            [
                tr("Settings", "As the system"),
                tr("Settings", "Light"),
                tr("Settings", "Dark"),
            ]
        )
        self.theme.setCurrentIndex(_THEMES.index(self._desk.settings.theme))
        self.theme.setMaximumWidth(220)
        self.theme.activated.connect(lambda place: self._desk.change(theme=_THEMES[place]))
        card.body.addLayout(field(tr("Settings", "Colours"), self.theme))
        self.notify = Switch(
            tr("Settings", "Notify me of a seat, a problem, a stopped host"), self._desk.palette
        )
        self.notify.setChecked(self._desk.settings.notifications)
        self.notify.toggled.connect(lambda on: self._desk.change(notifications=on))
        self.at_login = Switch(
            tr("Settings", "Show PeerLLM's tray icon when I log in"), self._desk.palette
        )
        self.at_login.setChecked(self._login().path.exists())
        self.at_login.toggled.connect(self._on_login)
        card.body.addWidget(self.notify)
        card.body.addWidget(self.at_login)
        self.install_button = button(
            tr("Settings", "Start hosting when I log in …"), "plain", self._install
        )
        self.install_line = label("", "muted")
        self.install_line.hide()
        card.body.addLayout(row(self.install_button, None))
        card.body.addWidget(self.install_line)
        return card

    def show_state(self, state: HostState) -> None:
        """Show who this host is."""
        if isinstance(state, HostSeen):
            self._peer_id = state.status.peer_id
            facts = tr("Settings", "Coordinator {coordinator} · {software} · state in {folder}")
            self._facts.setText(
                facts.format(
                    coordinator=state.status.coordinator,
                    software=state.status.software,
                    folder=shown_path(self._desk.data_directory),
                )
            )
            rate = max((m.engine.tokens_per_second_milli for m in state.status.models), default=0)
            sentence = cost_sentence(rate / 1000, self._desk.settings.power)
            if isinstance(self.power.typed(), PowerSettings):
                self.power.say(sentence)
        else:
            self._facts.setText(
                tr("Settings", "State in {folder}").format(
                    folder=shown_path(self._desk.data_directory)
                )
            )
        shown = self._peer_id or tr("Settings", "made when the host first starts")
        self._id.setText(shown)
        self.copy_button.setEnabled(bool(self._peer_id))

    def show_prices(self, sentence: str, *, well: bool) -> None:
        """Say what is known of the price list."""
        self.prices_line.setText(sentence)
        set_role(self.prices_line, "muted" if well else "waiting")

    def _copy(self) -> None:
        copy_text(self._peer_id)
        self._desk.said.emit(tr("Settings", "The host ID is on the clipboard."), False)

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self.window(), tr("Settings", "Choose the charter's folder")
        )
        if folder:
            self._desk.change(charter_directory=folder)

    def _keep_network(self) -> None:
        text, key = self.address.text().strip(), self.key.text().strip()
        address = network_address(text) if text else ""
        if address is None or not _is_header_word(key):
            sentence = tr(
                "Settings",
                "The address must begin with https:// (http:// only for this computer), and the "
                "key must be one word: it goes with every question.",
            )
            say(self.network_message, sentence)
            return
        say(self.network_message, "")
        self._desk.change(network_url=address, network_key=key)
        self._desk.said.emit(tr("Settings", "Kept."), False)

    def _login(self) -> LoginFile:
        directory = f"--data-directory={self._desk.data_directory}"
        command = [*front_door(), "desktop", "--hidden", directory]
        return login_file(command, home=Path.home())

    def _on_login(self, on: bool) -> None:
        wanted = self._login()
        try:
            if on:
                write_private(wanted.path, wanted.content)
            else:
                wanted.path.unlink(missing_ok=True)
        except OSError as error:
            sentence = tr("Settings", "{path} cannot be written: {why}.")
            self._desk.said.emit(sentence.format(path=wanted.path, why=error.strerror), True)

    def _install(self) -> None:
        self._desk.run(["host", "install", "--force"], partial(self._installed, self.install_line))

    def _installed(self, line: QLabel, well: bool, word: str) -> None:
        how = tr("Settings", "It is prepared. To {word}")
        say(line, how.format(word=word) if well else word, "muted" if well else "problem")


def _is_header_word(key: str) -> bool:
    return all("!" <= sign <= "~" for sign in key) and len(key) <= 512
