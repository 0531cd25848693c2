---------------------------- MODULE TraceVoting -----------------------------
(* Holds what real runs did to transactions against Voting. `Traces` is     *)
(* generated from their records, one trace for each transaction, with       *)
(* trustees and values renamed and equal traces left out; see               *)
(* docs/TRACE-VALIDATION.md. Each step of a trace must be a step of Voting  *)
(* and leave in etcd exactly what the record says was written. A trace that *)
(* can't go on is a deadlock.                                               *)
EXTENDS Voting, Sequences

VARIABLES
  which, \* the trace that is followed
  at     \* its next step

traceVars == <<signed, met, forgers, tally, bans, streaks, forgeries, due, settled, view, which, at>>

Tx == "tx"
Stored == tally[Tx]

(* WHAT THE ENVIRONMENT DID BEFORE A STEP *)

TraceSign(e) == Sign(e.n, Tx, e.v)

(* Written by another transaction, by reputation, or ended: each is checked where it is written. *)
TraceBanElsewhere(e) ==
  /\ bans' = [bans EXCEPT ![e.n] = e.grade]
  /\ UNCHANGED <<signed, met, forgers, tally, streaks, forgeries, due, settled, view>>

(* Silent runs as other transactions left them. *)
TraceRunsElsewhere(e) ==
  /\ streaks' = e.runs
  /\ UNCHANGED <<signed, met, forgers, tally, bans, forgeries, due, settled, view>>

(* WHAT WAS RECORDED OF A COMMIT *)

(* The keys that it put, over those that were there. *)
Recorded(e) == [
  status     |-> e.status,
  votes      |-> [n \in Trustees |->
                   IF \E b \in e.new : b[1] = n THEN (CHOOSE b \in e.new : b[1] = n)[2] ELSE Stored.votes[n]],
  counts     |-> [v \in Values |->
                   IF \E c \in e.counts : c[1] = v THEN (CHOOSE c \in e.counts : c[1] = v)[2] ELSE Stored.counts[v]],
  value      |-> IF e.record THEN e.value ELSE Stored.value,
  unanimous  |-> IF e.record THEN e.unanimous ELSE Stored.unanimous,
  excluded   |-> IF e.record THEN e.excluded ELSE Stored.excluded,
  absent     |-> IF e.record THEN e.absent ELSE Stored.absent,
  violations |-> Stored.violations \cup e.violations,
  decision   |-> IF e.decision # NONE THEN e.decision ELSE Stored.decision]

RecordedBans(e) == [n \in Trustees |->
  IF <<n, "PROOF">> \in e.bans THEN "PROOF"
  ELSE IF <<n, "OPINION">> \in e.bans THEN "OPINION" ELSE bans[n]]

RecordedRuns(e) == [n \in Trustees |->
  IF \E r \in e.runs : r[1] = n THEN (CHOOSE r \in e.runs : r[1] = n)[2] ELSE streaks[n]]

(* What is written once is not there yet: the compares of the Txn. *)
VotesAreNew(e) == \A b \in e.new : Stored.votes[b[1]] = NONE
VotersAreNotBanned(e) == \A b \in e.new : bans[b[1]] = "none"
DecisionIsNew(e) == e.decision # NONE => Stored.decision = NONE

AsRecorded(e) ==
  /\ tally'[Tx] = Recorded(e)
  /\ bans' = RecordedBans(e)
  /\ streaks' = RecordedRuns(e)

(* A node may not have heard of the newest bans. Voting's SeenBans, without a walk over all functions. *)
Out == {n \in Trustees : bans[n] # "none"}
MayHaveSeen ==
  {[n \in Trustees |-> IF n \in Out THEN seen[n] ELSE "none"] :
     seen \in {s \in [Out -> {"none", "OPINION", "PROOF"}] :
       \A n \in Out : s[n] = bans[n] \/ s[n] = "none" \/ bans[n] = "PROOF"}}

IsNewVotes(new, seen) == new \subseteq Recordable(Stored, Tx, seen) /\ OnePerTrustee(new)

(* Voting's RecordVotes and JudgeDeadline with their choices made. *)
Records(e, seen) ==
  /\ IsNewVotes(e.new, seen)
  /\ e.doubles \subseteq Equivocators(Stored, Tx, e.new)
  /\ e.new # {} \/ e.doubles # {}
  /\ Commit(Tx, e.new, e.doubles, FALSE, FALSE, seen)
Judges(e, seen, trouble) ==
  /\ NeedsJudging(Tx)
  /\ e.doubles = {}
  /\ IsNewVotes(e.new, seen)
  /\ Commit(Tx, e.new, {}, TRUE, trouble, seen)

TraceCommit(e) ==
  /\ \E seen \in MayHaveSeen :
       \/ Records(e, seen)
       \/ \E trouble \in BOOLEAN : Judges(e, seen, trouble)
  /\ AsRecorded(e)

TraceClaim(e) ==
  /\ e.decision # NONE
  /\ e.new = {}
  /\ Claim(Tx, e.decision[2])
  /\ AsRecorded(e)

TraceConfirm(e) ==
  /\ e.new = {} /\ e.decision = NONE
  /\ Confirm(Tx)
  /\ AsRecorded(e)

-----------------------------------------------------------------------------
TraceStep(e) ==
  \/ e.do = "sign" /\ TraceSign(e)
  \/ e.do = "due" /\ DeadlinePasses(Tx)
  \/ e.do = "settle" /\ SettleElapses(Tx)
  \/ e.do = "ban elsewhere" /\ TraceBanElsewhere(e)
  \/ e.do = "runs elsewhere" /\ TraceRunsElsewhere(e)
  \/ e.do = "commit" /\ TraceCommit(e)
  \/ e.do = "claim" /\ TraceClaim(e)
  \/ e.do = "confirm" /\ TraceConfirm(e)
  \/ e.do = "accuse" /\ Accuse(e.n, Tx)
  \/ e.do = "forgery" /\ RecordForgery(e.n, e.n)
  \/ e.do = "lift" /\ LiftBan(e.n)

TraceInit ==
  /\ VotingInit
  /\ which \in DOMAIN Traces
  /\ at = 1

TraceNext ==
  \/ /\ at <= Len(Traces[which])
     /\ TraceStep(Traces[which][at])
     /\ at' = at + 1
     /\ UNCHANGED which
  \/ /\ at > Len(Traces[which])
     /\ UNCHANGED traceVars
=============================================================================
