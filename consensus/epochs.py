"""Meeting peers that are in another epoch.

Each epoch has a core of its own, which knows nothing of other validator sets. What belongs to
another epoch is therefore never judged here, and to have sent it is no fault: the peer may be late,
or we. Whoever is late is helped. A peer in an earlier epoch is sent the certificate by which that
epoch ended; to a peer in a later one we say how far we are, and it does the same for us.
Source: docs/spec/consensus.md §10.
"""

from __future__ import annotations

from consensus.actions import Send, ServeEpochEnd
from consensus.retransmission import Retransmission
from consensus.state import State

__all__ = ["OtherEpochs"]


class OtherEpochs:
    """Helps the late one, peer or ourselves.

    Parameters
    ----------
    state : shared by the parts of the core.
    retransmission : knows how far we are.
    """

    def __init__(self, state: State, retransmission: Retransmission) -> None:
        self._state = state
        self._retransmission = retransmission

    def meet(self, peer: int, epoch: int) -> bool:
        """Look at the epoch of something that a peer sent.

        Returns
        -------
        bool
            Whether it is another epoch than ours: then there is nothing else to do with it.
        """
        state = self._state
        own = state.parameters.epoch
        if epoch == own:
            return False
        if state.peers.may_answer(peer, state.now_ms):
            if epoch < own:
                state.emit(ServeEpochEnd(peer, epoch))
            else:
                state.emit(Send(peer, self._retransmission.make_status()))
        return True
