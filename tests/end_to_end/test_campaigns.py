"""A campaign on a real node that is killed in the middle of the evaluation, and goes on."""

from __future__ import annotations

from pathlib import Path

import quorate
from ledger.parameters import Parameters
from node.storage.keystore import load_private_key
from quorate.campaign_records import CampaignRecord
from tests.helpers import learning
from tests.helpers.learning import make_rows
from tests.helpers.local_network import run_network, wait_for

ROWS, LABELS = make_rows(60, seed=3)
PIECES = [(ROWS[place::4], LABELS[place::4]) for place in range(4)]
KILL_AFTER_ITEMS = 7


def test_an_evaluation_goes_on_after_the_node_was_killed(tmp_path: Path) -> None:
    parameters = Parameters(unfinal_blocks_max=2)
    with run_network(
        tmp_path / "net",
        validators=1,
        accounts=("alice", "bob", "carol"),
        idle_interval_ms=200,
        parameters=parameters,
    ) as network:
        (validator,) = network.validators
        clients = [
            quorate.Client(
                validator.url,
                load_private_key(tmp_path / "net" / "accounts" / f"{name}.json"),
            )
            for name in ("alice", "bob", "carol")
        ]
        alice, bob, carol = clients
        learning.create(alice, "shaken", incentive=quorate.Incentive("contribution_pay"))
        opened = alice.campaigns.open(
            "shaken", PIECES, rule="shapley", bounty=900, contributions_max=2
        )
        wait_for(
            lambda: alice.campaigns.get("shaken").next_action == "show_drawn_piece", "the draw"
        )
        alice.campaigns.show_drawn(opened.secrets)
        bob.contribute("shaken", ROWS[:30], LABELS[:30])
        carol.contribute("shaken", ROWS[30:], (LABELS[30:] + 1) % 3)
        alice.campaigns.show_all(opened.secrets)
        killed_at: list[int] = []

        def kill_once(campaign: CampaignRecord) -> None:
            done = campaign.raw["progress"]["items_done"]
            if done >= KILL_AFTER_ITEMS and not killed_at:
                killed_at.append(done)
                validator.kill()
                validator.start()
                network.wait_until_ready()

        settled = carol.campaigns.advance("shaken", items=1, tell=kill_once)
        assert killed_at == [KILL_AFTER_ITEMS]
        assert settled.phase == "settled"
        assert alice.campaigns.verify("shaken").is_right
        # What Carol taught was wrong, and all of the bounty is Bob's.
        assert [each.payout for each in settled.entries] == [900, 0]
        assert alice.versions("shaken")[0].origin == "settled"
        for client in clients:
            client.close()
