<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1">
<context>
    <name>Activity</name>
    <message>
        <source>This is not a receipt that this host signed ({why}).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verified: the key of this host ({host}) signed exactly these numbers for the coordinator {coordinator}, on {time}. SHA-256 of the signed bytes: {digest}. Whether it was paid is for the coordinator&apos;s account to say.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>complete</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>not needed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>failed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Activity</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Each answer leaves a signed receipt: how much, when, for whom. What people asked and what was answered is kept nowhere, so it is not here either.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Receipts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In tokens. Not needed: another host of the race was faster, and this one was stopped.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Receipts, newest first</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Signed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Model</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Outcome</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Prompt</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Answer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Seconds</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No receipt has been signed yet.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verify</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Checks the signature of the chosen receipt, or of all</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verify this receipt</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verify all</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{false} of {count} were not signed by this host.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>All {count} receipts carry this host&apos;s true signature.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Payouts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A payout comes with a proof that it is part of a batch in the network&apos;s public log. Checking it takes no network and nobody&apos;s word.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>64 hexadecimal digits, or a file</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Proof, as the coordinator gave it to you</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The batch&apos;s root or entry, out of the public log</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verify payout</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose the proof, and what it is to be checked against.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>True, but it is the payout of another host: {proof}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose a file</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{date}: {amount}, batch {batch}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Chat</name>
    <message>
        <source>This conversation has become too long: begin a new one.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What came back is no answer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The answer broke off. Ask again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The API key was not accepted: see Settings.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Nobody answered. Check the address and the connection.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>There is no answer, and no reason was given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Chat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Who answers</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>New conversation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ask something. Return sends, Shift+Return begins a line.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your message</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Send</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model} on this computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model}, answered by the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>That is too long for one message.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The model on this computer is gone. Wait for it, or choose the network: what was said here goes there with the next message.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No model is loaded. Load one on the page Models, or name the network&apos;s API in Settings.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stays on this computer: nothing is sent, kept or logged.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Goes to the network you chose in Settings; identifiers are removed before a host sees it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Answer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No answer.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Desk</name>
    <message>
        <source>In force, but not kept for the next start: {why}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host did not start: {why}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Errand</name>
    <message>
        <source>It ended without saying why.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>PeerLLM&apos;s own program cannot be started.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>First run</name>
    <message>
        <source>What hosting means</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Who it works for</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A model for this computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What it costs</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your limits</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ready</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Back</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Next</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not now</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The model is not ready yet.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Step {number} of {count}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your host ID</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Copy</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Send it to whoever invited you, or to the network&apos;s waiting list: it is what you are given a seat by. Until then the host waits and asks again by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A network admits hosts one by one. Paste the invitation you were given, or the network&apos;s address.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Invitation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measuring</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measure this computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A short measurement tells how fast this computer answers; with your electricity price, what an answer costs you. You can skip it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Only while I am not using the computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Also on battery</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no limit</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Most memory it may take</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Hours by weekday, temperature, bandwidth and more are on the page Limits, at any time. One click pauses everything for an hour.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host goes on when this window is closed. You stop it here, in the tray, or with peerllm host stop.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Model</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You can change models at any time, on the page Models: from other hosts of the network, or from a file.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reading and checking the file …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What else the network has is not known yet: {why}. Start with this one; the page Models shows the rest once the network has answered.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model}, here already</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model}, {size} to download</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{text} (recommended)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Asking the network what models it has …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{size}, already on this computer: nothing to download.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It takes about {need} of memory; {free} are free now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{size} to download from other hosts, once the network has given you a seat. Until it is here, your computer starts with {model}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measuring: it takes some twenty seconds …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer answers with {rate} tokens a second.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Serve {model}. {limits}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Then get {model}, {size}, from other hosts and load it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The limits cannot be kept ({why}): nothing was started.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Starting …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your computer answers for other people</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>While it has nothing else to do, it runs a language model for people who ask the network. You decide when and how much, and can stop at any moment.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Earnings are not guaranteed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Answers are paid by a public price list, and newcomers wait longer for theirs. There may be little work, or none. It can cost more power than it brings; this window shows you the difference, also when it is negative.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A host can read what it works on</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Names, numbers and addresses are taken out before a question reaches you, and nothing of it is written down here. No software can make it unreadable while your computer works on it: do not look for it, and do not host if you would.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It takes power, memory and some of the disk</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The processor works hard while it answers: the fan may be heard. The next steps measure that, and set limits.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Paste the address of your invitation. Without one, ask the network for a place on its waiting list, and come back.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The invitation was altered on its way: its checksum does not fit. Copy it once more from where it was given to you.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The invitation is not whole: it begins with peerllm: and ends with ;check= and eight letters or digits. Copy all of it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>That is no invitation and no network&apos;s address: an address looks like /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Only while you are not using the computer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Also while you are using the computer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>On battery as well.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Never on battery.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not on a network paid for by the byte, nor while a program fills the screen, where this computer tells.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>At most {size} of memory.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Limits</name>
    <message>
        <source>The slowest bandwidth that still works is {least} KiB a second.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose at least one day, or switch the schedule off.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A day&apos;s hours must begin and end at different times.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not available on macOS and Windows yet.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer does not tell: it has no message bus (D-Bus).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer does not tell: NetworkManager does not run.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer does not tell: systemd-logind does not run.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host cannot see this screen: it was started outside the desktop, or the display does not let it in. Stop it, and start it from this window.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This desktop (Wayland) does not tell programs of each other. It works on X11.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This desktop does not tell: no window manager runs that would say.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Limits</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The computer is yours first. No limit cuts a running answer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause for an hour</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Now</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Apply</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Undo</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>When it may work</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Only while I am not using the computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>min</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>off</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Minutes the computer must be quiet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Also on battery</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Also on a network that is paid for by the byte</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Also while a program fills the screen</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Only at certain hours</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>quiet for</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your schedule has several spans a day, as written with peerllm host limits. It stays as it is; switch it off here to begin a new one.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Monday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Tuesday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Wednesday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Thursday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Friday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Saturday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Sunday</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>from</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>to</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What it may take</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measured values are used where nothing is set.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no limit</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>threads</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>as measured</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>of 19</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>normal</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A model that does not fit below it is not loaded.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Processor threads</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Bandwidth</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause when warmer than</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stand back behind other programs</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Let other hosts of the network fetch models from here</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host does not run. What you set here holds when it starts.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Nothing keeps it from working now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No effect here. {why}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Before the computer sleeps, running answers are finished, for the few seconds that the system waits.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>When the computer sleeps, running answers are cut; other hosts take them over. {why}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The new limits are in force.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The limits cannot be kept: {why}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Kept for when the host starts.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You paused it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your schedule has it rest now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You are using the computer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The computer runs on battery.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network is paid for by the byte.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A program fills the screen.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It has reached the memory you allow.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The computer is warmer than you allow.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The computer is about to sleep.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Link</name>
    <message>
        <source>No host is running: start it first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host does not answer.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Models</name>
    <message>
        <source>{count} M parameters</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{size} on disk</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} tokens context</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{rate} tokens/s measured here</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>fits: takes about {need} of memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>too large now: needs about {need} of memory, {free} are free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>served from a file that is not in the catalogue</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not served</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>On disk</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Loaded, {free} of {slots} slots free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Loading, {n}%</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In line to be loaded</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Starting again</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not loaded</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cannot be served</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One answer is being written with it and is finished first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} answers are being written with it and are finished first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No new ones are taken. Unload it?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One model takes</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} models take</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{models} {size} of disk.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{free} are free.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Looking for hosts that have {name} …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} is here and checked. Load it to serve it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stopped at {done} of {total}; it goes on from there.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>one host</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} hosts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name}: {done} of {total} from {hosts}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name}: checking {done} of {total}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Models</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A host answers with the models that are loaded here.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Name in the network&apos;s catalogue, or SHA-256</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Get it from other hosts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>From the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Add a GGUF file …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Add the small model that came with PeerLLM</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Progress of the download</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Download</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Go on</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Add another model</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start the host first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start the host to see what the network has.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not known yet: the network&apos;s coordinator tells it to hosts that hold a seat or are in line for one. It is asked again every minute.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No models yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Add the small model that came with PeerLLM to begin with.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Load</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Unload</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Verify file</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Benchmark</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Remove …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Unload it first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Unload {name}?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} is whole: its SHA-256 is what it was when it was added.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reading and hashing the whole file …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measured {name}: {word}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Measuring on this computer, up to a minute or two …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} leaves the list. Its file of {path} stays unless you also delete it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Remove {name}?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Remove, keep the file</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete the file too</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} was removed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Removing …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose a GGUF file</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reading {name} …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The model was added.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} is here and checked, and is being loaded.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A model&apos;s name has 1 to 128 characters and no spaces.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} is not what the stewards signed: it is not fetched.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Network</name>
    <message>
        <source>class {name}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} tokens context</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{size} on disk</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network has approved it and has no copy to hand out yet.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cannot run here: {why}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Too large now: needs about {need} of memory, {free} are free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No room: {need} to download, {free} of the disk are free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fits this computer: about {need} of memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Is on this computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>about {rate} tokens/s, reckoned from what was measured here</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You hold a seat for it</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A seat for it is offered to you</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You are in line: place {place}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One seat is free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} seats are free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No seat is free; one host waits</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No seat is free; {count} hosts wait</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No seat is free</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No word from the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A coordinator answers only computers that hold a seat or are in line for one. If yours is new, send its host ID to whoever invited you; it asks again by itself. If it has a seat, check that this computer is online.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Region {region} keeps a seat for {models} until {date}. Take it, and this computer is connected within seconds; let it lapse, and it goes to the next in line.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A seat is offered to you</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In region {region}, for {models}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You hold a seat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{region}: {contact}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A computer is put in line by the network&apos;s operators, by its host ID. Send yours to whoever invited you, or to a region:</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A computer is put in line by the network&apos;s operators, by its host ID. Send yours to whoever invited you.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No seat, and not in line yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model} in {region}: place {place}, since {date}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>When a seat is free for you it is kept for some days, and this window tells you. Leave the host running, or look in now and then.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In line for a seat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no model of the catalogue</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>As the network&apos;s coordinator tells it. Choose the charter&apos;s folder in Settings to have it compared with what the stewards signed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not what the stewards signed: {names}. Do not serve it, and tell the network&apos;s operators; or the charter&apos;s folder here is of another day.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Compared with the signed charter: files, classes and licences are the same.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Take the seat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Copy the host ID</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ask again</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Decline it</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Leave the line</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The seat is yours.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This host is not in line there any more.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Models of the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{network}, version {version} of its catalogue.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Recommended</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Get and load</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>On this computer</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Overview</name>
    <message>
        <source>Nothing yet. The first bar appears with the first answer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} answer tokens in the last {days} days</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Requests served today</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} this month</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Tokens a second</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Earned this month</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Power this month</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>measured at loading: {rate}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>today {today}; {escrow} in escrow</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>net of power: {net}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no receipts signed yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>not known yet by this host: choose the price list in Settings</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>not known</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>at most, before escrow: an estimate from the public price list</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>net of power: {net}; an estimate from the public price list</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no speed measured yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>at {watts} W while answering</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>not known yet by this host</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Trust</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Balance</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Its path</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>told by the coordinator, as of {time} UTC</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>All of this</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>trusted: earnings are yours at once</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>one more receipt</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} more receipts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>newcomer: the time to trust begins with your first receipt</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>newcomer until {date}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>newcomer: {receipts}, and not before {date}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Strikes</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>they weigh {weight} of the {limit} that suspend a host</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>By the charter, people who did not record the strike decide. Their time, of as many days as the charter says, begins when the coordinator takes the appeal down; the last day is then shown here. If nobody decides by then, the strike is withdrawn by itself.

Until then it weighs what it weighs now. If the appeal is dismissed, it goes on weighing that until it is too old.

There is one appeal for each strike, and it cannot be taken back. It carries no words: give your reasons {contact}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>to {contact}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Appeal against strike {number}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Appeal against this strike: {name}?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{rule} on {date}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>weighs {weight}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>counts no longer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>appeal until {until}: {contact}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>withdrawn on {until}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>the appeal was dismissed on {until}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>appealed: withdrawn by itself on {until} if nobody decides</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>the time to appeal ended on {until}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{weighs}; {appeal}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>to whoever invited you</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{balance}, escrow included; paid out from {minimum} on; {paid} so far</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A payout is overdue since {date}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>suspended: the stewards decide when it is active again</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>federated: {hosts} active hosts and {revenue} last month; to become so took {needed} and {revenue_needed}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>nothing</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{escrow}; {part} of it comes free on {date}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{hosts} active hosts last month, {needed} make it a region</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>to federation: {hosts} of {needed} active hosts, {revenue} of {revenue_needed} a month</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In escrow</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Region</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>connected to {name}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>not connected to {name}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Overview</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause until I resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Answer tokens, last 30 days</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Standing</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Starting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host is starting. The first time, it measures this computer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not set up yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer does not host anything. Setting it up takes about two minutes, and nothing runs before you say so.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Set up hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not running</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your host is stopped. It takes no work and earns nothing.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host stopped unexpectedly</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Its program ended or no longer answers. Answers it was working on were taken over by other hosts; nothing you earned is lost.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start it again</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host is of another release</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It speaks version {version} of the control API, which this window does not know. Stop it with the release that started it, then start it from here.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host does not know this window</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The token in control.json is not the one the host was started with; another host may run from a copy of the folder. Stop that host, and this window finds its way by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host cannot be found</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One answer is being finished. It takes no new work.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} answers are being finished. It takes no new work.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stopping</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Paused</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Standing back</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause for an hour</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One answer is being written on this computer now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} answers are being written on this computer now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Serving</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Connected. Work arrives when people ask the network for your models.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ready for work</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network gives it no work for now ({reason}). The way back: {way_back}. It ends by itself on {date}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Paused by the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You paused it. It takes no new work until you resume.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It goes on by itself at {time}, in {minutes} min.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Waiting for a seat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network has this computer in line. It works once it has a seat, and asks again by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network knows of this computer and has not admitted it yet ({reason}). Send your host ID to whoever invited you; it asks again by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no reason given</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No connection</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network&apos;s coordinator cannot be reached, or has ended the connection. Check that this computer is online; it tries again by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Connecting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Introducing itself to the network.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Getting ready</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Loading {model}, {percent}%.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No model to serve</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Load one on the page Models.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The coordinator has answered: {name}, {text}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The appeal was sent. The coordinator&apos;s answer is awaited.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The coordinator has not said that it took the appeal down. You can send it again: it counts once.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Appeal …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Appeal against strike {number}: {name}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>In a few seconds: one appeal after the other.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Send the appeal</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Quit</name>
    <message>
        <source>Quit PeerLLM</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Shall the host go on without this window?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It is a program of its own and can go on earning. If it is to stop, it first finishes what runs, for half a minute at most, and ends by itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One answer is being written now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} answers are being written now.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Quit, the host goes on</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop the host and quit</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Settings</name>
    <message>
        <source>Type a number, for example 0.32.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A price below 0 would mean that you are paid for using power. If power costs you nothing, type 0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The power must be more than 0 watts.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>That is more than any price or power there is: check it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Power</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>To set what hosting costs beside what it brings.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>for example 0.32</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Price of a kilowatt-hour</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Currency</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Extra watts while answering</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A plug-in meter tells the watts exactly. Without one: 10 to 25 for a laptop, 30 to 80 for a desktop&apos;s processor, more with a graphics card.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A currency has 1 to 8 letters or signs.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>At {rate} tokens a second, a million answer tokens take {hours} hours and cost about {cost} in power.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Settings</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Copy host ID</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Host ID: what a network admits you by</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network&apos;s charter</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A folder with what the network&apos;s stewards signed. Once the signatures are verified, its prices give an estimate of earnings, and the network&apos;s models are compared with it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose folder …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Chat with the network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The address of a coordinator&apos;s API, and your key for it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Address</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Kept in a file that only you can read.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>API key</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Keep</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Window</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>As the system</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Light</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Dark</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Colours</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Notify me of a seat, a problem, a stopped host</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Show PeerLLM&apos;s tray icon when I log in</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start hosting when I log in …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Coordinator {coordinator} · {software} · state in {folder}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>State in {folder}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>made when the host first starts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The host ID is on the clipboard.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose the charter&apos;s folder</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The address must begin with https:// (http:// only for this computer), and the key must be one word: it goes with every question.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Kept.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{path} cannot be written: {why}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>It is prepared. To {word}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Tray</name>
    <message>
        <source>{title}, {rate} tokens/s</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Open PeerLLM to start it again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The network has given you a seat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Your computer takes work from now on.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{model} cannot be served</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A strike was recorded: {rule}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The page Overview says what it weighs and until when to appeal.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>You were paid {amount}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The page Activity checks the payout&apos;s proof.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A seat is offered to you</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Take it on the page Overview, until {date}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Open PeerLLM</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause for an hour</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Pause until I resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Finish answers, then stop hosting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Quit …</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Window</name>
    <message>
        <source>The window&apos;s settings could not be read: {why}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Overview</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Models</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Limits</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Activity</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Chat</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Settings</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>None chosen: earnings are not estimated.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{folder}: verified, prices of {count} models.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{folder}: {why}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no prices of models are in it</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>this is the charter of another network than the one you were invited to: its root has the SHA-256 {found}, the invitation says {wanted}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
</TS>
