------------------------------- MODULE votes -------------------------------
(***************************************************************************)
(* The vote rules of docs/spec/consensus.md, and why two correct           *)
(* validators never make different blocks final.                           *)
(*                                                                         *)
(* Messages are a set that only grows.  A certificate exists as soon as    *)
(* the correct votes for it, and those that the Byzantine validators could *)
(* add at any time, are a quorum; what exists may be known to anybody, so  *)
(* who has learnt what is no part of the state.  Clocks are left out: a    *)
(* correct validator may give a view up whenever it likes.  docs/spec/     *)
(* votes.md says which action is which function of the core.               *)
(***************************************************************************)
EXTENDS Integers, FiniteSets

CONSTANTS
    Correct,      \* validators that follow the rules
    Byzantine,    \* validators that sign anything
    MaxView,      \* views 1 .. MaxView are looked at
    Leader,       \* function from 1 .. MaxView to validators
    Bodies        \* what blocks on one parent may differ in

Validators == Correct \cup Byzantine
Views      == 1 .. MaxView
N          == Cardinality(Validators)
F          == (N - 1) \div 3
Quorum     == N - F

ASSUME Correct \cap Byzantine = {}
ASSUME Leader \in [Views -> Validators]

-----------------------------------------------------------------------------
(* Blocks: a body, the view, and the whole parent instead of its hash.     *)

Genesis == [view |-> 0]
NoBlock == [view |-> -1]           \* what a VIEW-CHANGE speaks of

RECURSIVE BlocksUpTo(_)
BlocksUpTo(v) ==
    IF v = 0 THEN {Genesis}
    ELSE BlocksUpTo(v - 1) \cup
         [view : {v}, parent : BlocksUpTo(v - 1), body : Bodies]

Blocks == BlocksUpTo(MaxView) \ {Genesis}

RECURSIVE IsAncestor(_, _)
IsAncestor(a, b) ==                \* a block counts as its own ancestor
    \/ a = b
    \/ b # Genesis /\ IsAncestor(a, b.parent)

-----------------------------------------------------------------------------
VARIABLES
    view,         \* view[p]: the view that correct p is in
    proposals,    \* blocks that correct leaders have proposed
    votes         \* votes that correct validators have cast

vars == <<view, proposals, votes>>

Kinds   == {"PREPARE", "COMMIT", "VIEW-CHANGE"}
Subject == [kind : {"PREPARE", "COMMIT"}, view : Views, block : Blocks]
           \cup [kind : {"VIEW-CHANGE"}, view : Views, block : {NoBlock}]

TypeOK ==
    /\ view \in [Correct -> 1 .. MaxView + 1]
    /\ proposals \subseteq Blocks
    /\ votes \subseteq [from : Correct, about : Subject]

About(kind, v, b) == [kind |-> kind, view |-> v, block |-> b]
Says(p, s)        == [from |-> p, about |-> s] \in votes

Voters(s)    == {p \in Correct : Says(p, s)} \cup Byzantine
Certified(s) == Cardinality(Voters(s)) >= Quorum

Prepared(b)  == Certified(About("PREPARE", b.view, b))
Committed(b) == Certified(About("COMMIT", b.view, b))
GivenUp(v)   == Certified(About("VIEW-CHANGE", v, NoBlock))

HasPrepared(p, v)  == \E b \in Blocks : Says(p, About("PREPARE", v, b))
HasCommitted(p, v) == \E b \in Blocks : Says(p, About("COMMIT", v, b))
HasGivenUp(p, v)   == Says(p, About("VIEW-CHANGE", v, NoBlock))

(* P5: the parent is genesis or prepared, and each view between was given  *)
(* up.  A commit certificate will do too, but needs a prepared one.        *)
Justified(b) ==
    /\ b.parent = Genesis \/ Prepared(b.parent)
    /\ \A v \in b.parent.view + 1 .. b.view - 1 : GivenUp(v)

IsProposed(b) == b \in proposals \/ Leader[b.view] \in Byzantine

Cast(p, s) == votes' = votes \cup {[from |-> p, about |-> s]}

-----------------------------------------------------------------------------
Init ==
    /\ view = [p \in Correct |-> 1]
    /\ proposals = {}
    /\ votes = {}

(* S1: a correct leader proposes once in its view.                         *)
Propose(p, b) ==
    /\ view[p] = b.view
    /\ Leader[b.view] = p
    /\ \A other \in proposals : other.view # b.view
    /\ Justified(b)
    /\ proposals' = proposals \cup {b}
    /\ UNCHANGED <<view, votes>>

(* S2, P3, P5: one PREPARE in a view, for a justified proposal of it.      *)
Prepare(p, b) ==
    /\ view[p] = b.view
    /\ IsProposed(b)
    /\ Justified(b)
    /\ ~ HasPrepared(p, b.view)
    /\ Cast(p, About("PREPARE", b.view, b))
    /\ UNCHANGED <<view, proposals>>

(* S3, S4: one COMMIT in a view, upon a prepared certificate, and none in  *)
(* a view that was given up here.  The view may long be over.              *)
Commit(p, b) ==
    /\ Prepared(b)
    /\ view[p] > b.view
    /\ ~ HasCommitted(p, b.view)
    /\ ~ HasGivenUp(p, b.view)
    /\ Cast(p, About("COMMIT", b.view, b))
    /\ UNCHANGED <<view, proposals>>

(* S4: the current view may be given up unless it was committed here.      *)
ViewChange(p) ==
    /\ view[p] \in Views
    /\ ~ HasGivenUp(p, view[p])
    /\ ~ HasCommitted(p, view[p])
    /\ Cast(p, About("VIEW-CHANGE", view[p], NoBlock))
    /\ UNCHANGED <<view, proposals>>

(* V5: any certificate of a view that is not yet left opens the next one.  *)
EnterView(p, v) ==
    /\ v >= view[p]
    /\ \/ GivenUp(v)
       \/ \E b \in Blocks : b.view = v /\ (Prepared(b) \/ Committed(b))
    /\ view' = [view EXCEPT ![p] = v + 1]
    /\ UNCHANGED <<proposals, votes>>

Next ==
    \E p \in Correct :
        \/ \E b \in Blocks : Propose(p, b) \/ Prepare(p, b) \/ Commit(p, b)
        \/ ViewChange(p)
        \/ \E v \in Views : EnterView(p, v)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* What holds in every state as long as Byzantine has at most F members.   *)

OnePreparedBlock ==                                         \* I1 of the core
    \A a, b \in Blocks : a.view = b.view /\ Prepared(a) /\ Prepared(b) => a = b

NeverBothCommittedAndGivenUp ==                             \* I2
    \A b \in Blocks : ~ (Committed(b) /\ GivenUp(b.view))

PreparedAboveCommitted ==                                   \* I3
    \A a, b \in Blocks :
        Committed(a) /\ Prepared(b) /\ b.view > a.view => IsAncestor(a, b)

Agreement ==
    \A a, b \in Blocks :
        Committed(a) /\ Committed(b) => IsAncestor(a, b) \/ IsAncestor(b, a)

(* What holds however many are Byzantine: whoever is in both of two        *)
(* certificates that contradict each other is Byzantine, they are more     *)
(* than F, and a fork does not come without two such certificates.         *)

Contradict(s, t) ==
    /\ s.view = t.view
    /\ \/ s.kind = "COMMIT" /\ t.kind = "VIEW-CHANGE"
       \/ s.kind = t.kind /\ s.block # t.block

Accountability ==
    /\ \A s, t \in Subject :
           Contradict(s, t) /\ Certified(s) /\ Certified(t)
               => /\ Voters(s) \cap Voters(t) \subseteq Byzantine
                  /\ Cardinality(Voters(s) \cap Voters(t)) > F
    /\ Agreement \/ \E s, t \in Subject :
                        Contradict(s, t) /\ Certified(s) /\ Certified(t)

THEOREM Cardinality(Byzantine) <= F =>
            Spec => [](OnePreparedBlock /\ NeverBothCommittedAndGivenUp
                       /\ PreparedAboveCommitted /\ Agreement)
THEOREM Spec => []Accountability
=============================================================================
