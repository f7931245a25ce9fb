"""``quorate doctor``: why the chain does or does not grow here, and how this node's machine is."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from consensus.wording import tell_duration
from node.clock import read_monotonic_ms
from node.commands.terminal import ExitCode, OutputFormat, print_answer, render_table
from node.configuration import load_settings
from node.home import NodeHome
from node.home_examination import (
    Finding,
    FindingState,
    examine_home,
    find_holder,
    is_paused,
    read_log_tail,
)
from node.version import read_version
from primitives.errors import InvalidInputError

__all__ = ["run_doctor"]

LIVE_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
"""Longer than the API itself waits for the node process."""

LOG_LINES_SHOWN = 8

_TOLD = frozenset({"diagnosis", "epoch_end_height", "final", "validators", "version", "views"})
"""Some of what a node of this version tells."""

_CHECK_FAILURES = {
    "node_connected": "the node process does not answer",
    "node_synced": "blocks are missing here",
    "chain_followed": "no block becomes final here",
    "state_present": "there is no state to read from yet",
    "reads_current": "what is read is old",
}


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the API said; None for what it did not."""

    reached: Finding
    consensus: dict[str, Any] | None = None
    checks: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Opinion:
    """All that the doctor has to say."""

    is_well: bool
    sentence: str
    advice: str
    findings: list[Finding]
    consensus: dict[str, Any] | None
    log: list[str]


def run_doctor(
    url: str | None,
    home_folder: Path | None,
    default_url: str,
    output: OutputFormat,
    transport: httpx.BaseTransport | None = None,
) -> None:
    """Print what is the matter; exit code 1 unless all is well.

    Parameters
    ----------
    url
        Of the API to ask; None for that of the home, else the one that the environment names.
    home_folder
        Folder of the node, if it is on this machine; None for the one that the environment names,
        unless a URL is given: that may be of any node.
    default_url
        Where a node answers that was not configured otherwise.
    output
        Text for people or JSON.
    transport
        Replaces the network, for tests.
    """
    named = os.environ.get("QUORATE_HOME")
    if home_folder is None and url is None and named:
        home_folder = Path(named)
    home = None if home_folder is None else NodeHome(home_folder)
    findings: list[Finding] = []
    if url is None and home is not None:
        url, findings = _find_url(home, default_url)
    elif url is None:
        url = os.environ.get("QUORATE_URL") or default_url
    answers = _ask(url, transport)
    opinion = _judge(answers, home, findings)
    print_answer(asdict(opinion), _render(opinion, url, home), output)
    if not opinion.is_well:
        raise SystemExit(ExitCode.FAILURE)


def _find_url(home: NodeHome, default_url: str) -> tuple[str, list[Finding]]:
    """Return where the node of a home answers, and what is wrong with its settings if anything."""
    try:
        api = load_settings(home.config_file).api
    except InvalidInputError as error:
        return default_url, [Finding("settings", FindingState.FAILED, error.message)]
    if not api.enabled:
        return default_url, [Finding("settings", FindingState.WARNING, "this node serves no API")]
    host = "127.0.0.1" if api.host in ("0.0.0.0", "::") else api.host  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{api.port}", []


def _ask(url: str, transport: httpx.BaseTransport | None) -> _Answers:
    try:
        with httpx.Client(base_url=url, timeout=ANSWER_TIMEOUT_S, transport=transport) as client:
            started_ms = read_monotonic_ms()
            client.get("/livez", timeout=LIVE_TIMEOUT_S)
            elapsed_ms = read_monotonic_ms() - started_ms
            ready = client.get("/readyz")
            consensus = client.get("/api/v1/consensus")
            checks = ready.json()["checks"]
            told = consensus.json()
            if consensus.status_code != httpx.codes.OK and told["code"] != "node_unreachable":
                raise ValueError(told["code"])
            known = told if consensus.status_code == httpx.codes.OK else None
            if known is not None and not known.keys() >= _TOLD:
                raise ValueError("tells something else")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{url} does not answer: {error}"
        return _Answers(Finding("api", FindingState.FAILED, text))
    except (ValueError, KeyError, TypeError):
        text = f"what answers at {url} is no node, or one of another version"
        return _Answers(Finding("api", FindingState.FAILED, text))
    return _Answers(
        Finding("api", FindingState.OK, f"{url} answers in {elapsed_ms} ms"), known, checks
    )


def _judge(answers: _Answers, home: NodeHome | None, findings: list[Finding]) -> _Opinion:
    """Put together what was heard and what was seen."""
    findings = [answers.reached, *findings]
    consensus = answers.consensus
    holder = None if home is None else find_holder(home)
    if home is not None:
        findings.append(_tell_holder(home, holder))
    if consensus is None:
        sentence, advice = _explain_silence(answers, home, holder)
    else:
        diagnosis = consensus["diagnosis"]
        sentence, advice = diagnosis["sentence"], diagnosis["advice"]
        findings += _list_answered(answers.checks, consensus)
    if home is not None:
        findings += examine_home(home)
    is_well = consensus is not None and consensus["diagnosis"]["severity"] == "well"
    is_well = is_well and all(each.state is FindingState.OK for each in findings)
    log = [] if home is None or is_well else read_log_tail(home, LOG_LINES_SHOWN)
    return _Opinion(is_well, sentence, advice, findings, consensus, log)


def _tell_holder(home: NodeHome, holder: str | None) -> Finding:
    if holder is None:
        return Finding("process", FindingState.FAILED, f"no node runs in {home.root}")
    if is_paused(holder):
        text = f"process {holder} is paused; `kill -CONT {holder}` lets it go on"
        return Finding("process", FindingState.FAILED, text)
    return Finding("process", FindingState.OK, f"process {holder} runs in {home.root}")


def _explain_silence(
    answers: _Answers, home: NodeHome | None, holder: str | None
) -> tuple[str, str]:
    """Say why there is no report of consensus, and what to do."""
    if holder is not None and is_paused(holder):
        return (
            f"This node is paused: its process {holder} was stopped by a signal.",
            f"Let it go on, `kill -CONT {holder}`, or find out who stopped it.",
        )
    if home is not None and holder is None:
        return (
            "This node is not running.",
            f"Read what it said last, then start it: `quorate start --home {home.root}`.",
        )
    if answers.reached.state is FindingState.OK:
        return (
            "The API answers, but the node process behind it does not.",
            "If it has just started, wait some seconds. Else look at its log and at the load of its"
            " machine.",
        )
    if home is None:
        return (
            "The node cannot be reached.",
            "See whether it runs and whether the URL is right. On its own machine,"
            " `quorate doctor HOME` also looks at its folder.",
        )
    return (
        f"This node runs (process {holder}), but its API does not answer.",
        "If it has just started, wait some seconds. Else look at its log and at the load of this"
        " machine.",
    )


def _list_answered(checks: dict[str, bool], consensus: dict[str, Any]) -> list[Finding]:
    """Return findings about what the API told."""
    failed = [_CHECK_FAILURES.get(name, name) for name, passed in checks.items() if not passed]
    findings = [
        Finding("ready", FindingState.FAILED, f"not ready: {'; '.join(failed)}")
        if failed
        else Finding("ready", FindingState.OK, "reads are current and submissions are taken")
    ]
    own, theirs = read_version(), consensus["version"]
    findings.append(
        Finding("version", FindingState.OK, f"{theirs}")
        if own == theirs
        else Finding("version", FindingState.WARNING, f"the node runs {theirs}, this is {own}")
    )
    return [*findings, _tell_clock(consensus)]


def _tell_clock(consensus: dict[str, Any]) -> Finding:
    offsets = [
        each["clock_offset_ms"]
        for each in consensus["validators"]
        if each["is_connected"] and each["clock_offset_ms"] is not None
    ]
    if not offsets:
        return Finding(
            "clock", FindingState.OK, "not compared yet: too few proposals of others came"
        )
    farthest_ms = max(offsets, key=abs)
    others = "1 other" if len(offsets) == 1 else f"{len(offsets)} others"
    text = f"seems within {abs(farthest_ms)} ms of {others}"
    is_wrong = consensus["diagnosis"]["code"] == "clock_wrong"
    return Finding("clock", FindingState.WARNING if is_wrong else FindingState.OK, text)


def _render(opinion: _Opinion, url: str, home: NodeHome | None) -> str:
    """Return the opinion as a page for people."""
    consensus = opinion.consensus
    name = url if consensus is None else f"{consensus['node']} at {url}"
    if consensus is None and home is not None:
        name = f"{home.root}"
    lines = [name, "", opinion.sentence]
    if not opinion.is_well:
        lines.append(f"What to do: {opinion.advice}")
    if consensus is not None:
        lines += ["", *_render_consensus(consensus)]
    lines += ["", *_render_findings(opinion.findings)]
    if opinion.log:
        lines += ["", "the log ends with", *(f"  {line}" for line in opinion.log)]
    return "\n".join(lines)


def _render_findings(findings: list[Finding]) -> list[str]:
    rows = [[each.state.value, each.name, each.text] for each in findings]
    return render_table(["", "checked", "found"], rows).splitlines()


def _render_consensus(consensus: dict[str, Any]) -> list[str]:
    view = consensus["view"]
    rows = [
        [
            each["name"],
            _tell_connection(each),
            _tell_heard(each["heard"]),
            f"{each['recent_votes']} of {consensus['recent_prepared_views']}",
            ", ".join(each["votes"]) or "-",
        ]
        for each in consensus["validators"]
    ]
    final, end = consensus["final"], consensus["epoch_end_height"]
    until = "" if end is None else f" (up to height {end})"
    headings = ["validator", "connection", "last heard", "voted", f"votes in view {view}"]
    return [
        f"epoch {consensus['epoch']}{until}, view {view} led by {consensus['leader']},"
        f" final height {final['height']}",
        *(_tell_view(each) for each in consensus["views"][:2] if _is_open(each)),
        "",
        *render_table(headings, rows).splitlines(),
    ]


def _is_open(view: dict[str, Any]) -> bool:
    """Return whether anything was said in a view and no block of it is final."""
    votes = [each["votes"] for each in view["certificates"]]
    commits = view["certificates"][1]
    return (view["has_proposal"] or any(votes)) and not commits["is_complete"]


def _tell_view(view: dict[str, Any]) -> str:
    parts = [
        f"{each['kind']} {each['votes']} of {each['needed']}"
        for each in view["certificates"]
        if each["votes"]
    ]
    proposal = "proposed" if view["has_proposal"] else "not proposed"
    return f"view {view['view']} of {view['leader']}: {', '.join([proposal, *parts])}"


def _tell_connection(validator: dict[str, Any]) -> str:
    if validator["is_self"]:
        return "this node"
    state = "connected" if validator["is_connected"] else "not connected"
    if validator["is_connected"] and not validator["is_present"]:
        state = "connected, silent"
    return f"{state}, skipped as leader" if validator["is_skipped"] else state


def _tell_heard(heard: dict[str, Any] | None) -> str:
    if heard is None:
        return "-"
    view = "" if heard["view"] is None else f" of view {heard['view']}"
    return f"{tell_duration(heard['age_ms'])} ago: {heard['message']}{view}"
