"""Counters and histograms for operators. Labels are names of a fixed set, never text or ids."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from peerllm.coordinator.statement import Statement

# First tokens at home take from tens of milliseconds to tens of seconds.
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One coordinator's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "peerllm_requests", "Requests by how they ended", ["outcome"], registry=self.registry
        )
        self._tokens = Counter(
            "peerllm_tokens", "Tokens billed", ["direction"], registry=self.registry
        )
        self._charged = Counter(
            "peerllm_charged_nano_usd", "Charged to customers", registry=self.registry
        )
        self._host_share = Counter(
            "peerllm_host_share_nano_usd", "Of it for hosts", registry=self.registry
        )
        self._first_token = Histogram(
            "peerllm_first_token_seconds",
            "From dispatch to a host's first token",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._runs = Counter(
            "peerllm_host_runs", "Dispatches by how they ended", ["outcome"], registry=self.registry
        )
        self._stronger = Counter(
            "peerllm_stronger_judge",
            "Questions to stronger judges by how they ended",
            ["judge", "outcome"],
            registry=self.registry,
        )
        self.hosts = Gauge("peerllm_hosts_connected", "Hosts connected", registry=self.registry)
        self.in_flight = Gauge(
            "peerllm_requests_in_flight", "Requests being served", registry=self.registry
        )
        self.voids_owed = Gauge(
            "peerllm_voids_owed",
            "Reservations held because their void could not be written yet",
            registry=self.registry,
        )

    def ended(self, outcome: str) -> None:
        """One request ended: `answered`, `disconnected` or an error's code."""
        self._requests.labels(outcome).inc()

    def settled(self, statement: Statement) -> None:
        """One request was settled."""
        self._tokens.labels("prompt").inc(statement.prompt_tokens)
        self._tokens.labels("completion").inc(statement.completion_tokens)
        self._charged.inc(statement.charge_nano_usd)
        self._host_share.inc(statement.host_share_nano_usd)
        for chunk in statement.chunks:
            for host in chunk.hosts:
                self._runs.labels(host.failure or ("won" if host.won else "backup")).inc()
                if host.first_token_ms is not None:
                    self._first_token.observe(host.first_token_ms / 1000)

    def stronger_judge(self, judge: str, outcome: str) -> None:
        """One question to a stronger judge ended: `allowed`, `refused` or a failure's kind."""
        self._stronger.labels(judge, outcome).inc()

    def text(self) -> bytes:
        """The exposition format that Prometheus reads."""
        return generate_latest(self.registry)
