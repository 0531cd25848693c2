------------------------------ MODULE Quorate -------------------------------
(* The two halves together: the decision that Voting writes is what          *)
(* Submission acts on, and what is final on the chain is what Voting         *)
(* confirms. Small instances only; the halves are checked by themselves.     *)
EXTENDS Voting, Submission

quorateVars == <<votingVars, submissionVars>>

Word(decision) == IF decision = NONE THEN NONE ELSE decision[1]

(* The submitter sees the decision in etcd. *)
Vote ==
  /\ VotingSteps
  /\ ruling' = [tx \in TxIds |-> Word(tally'[tx].decision)]
  /\ UNCHANGED submitterVars

Submit ==
  /\ SubmissionSteps
  /\ UNCHANGED votingVars

(* FINALIZED in PostgreSQL first, then CONFIRMED in etcd. *)
ConfirmFinalized ==
  /\ \E tx \in TxIds :
       /\ row[tx] = "FINALIZED" \/ (Flawed("confirmed-when-sent") /\ row[tx] = "ASSIGNED")
       /\ Confirm(tx)
  /\ UNCHANGED submissionVars

QuorateDone ==
  /\ \A tx \in TxIds : tally[tx].status \in {"IDLE", "CONFIRMED", "ABORTED_BYZANTINE"}
  /\ UNCHANGED votingVars
  /\ UNCHANGED submissionVars

QuorateInit == VotingInit /\ SubmissionInit
QuorateNext == Vote \/ Submit \/ ConfirmFinalized \/ QuorateDone
QuorateSpec == QuorateInit /\ [][QuorateNext]_quorateVars

(* I2 over both: what is on the chain was decided, and t trustees voted for it. *)
EffectHasQuorum ==
  \A tx \in TxIds :
    IsRecorded(tx, Count) =>
      \E v \in Values :
        /\ tally[tx].decision = <<"SUBMIT", v>>
        /\ Cardinality({n \in Trustees : tally[tx].votes[n] = v}) >= Threshold

(* I3 over both. *)
AbortedHasNoEffect ==
  \A tx \in TxIds :
    tally[tx].status = "ABORTED_BYZANTINE" => ~IsRecorded(tx, Count) /\ row[tx] \in {NONE, "ABORTED"}

(* What anybody is told is CONFIRMED is on the chain for good. *)
ConfirmedIsFinal ==
  \A tx \in TxIds : tally[tx].status = "CONFIRMED" => IsRecorded(tx, final)
=============================================================================
