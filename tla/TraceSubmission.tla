-------------------------- MODULE TraceSubmission ---------------------------
(* Holds what real submitters did with one result against Submission: its   *)
(* row, the nonces that it had, what was signed, sent and found on the      *)
(* chain for them. `Traces` is generated from their records; see            *)
(* docs/TRACE-VALIDATION.md. Other results of the same batches and nonces   *)
(* that this one never had are left out; what the chain did is put in where *)
(* a process says that it saw it. A trace that can't go on is a deadlock.   *)
EXTENDS Submission

VARIABLES
  which, \* the trace that is followed
  at     \* its next step

traceVars ==
  <<ruling, epoch, row, slot, nextNonce, leads, sent, chain, final, trouble, which, at>>

Tx == "tx"

Stays == UNCHANGED submissionVars

(* WHAT THE ENVIRONMENT DID *)

TraceRule(e) ==
  /\ ruling[Tx] = NONE
  /\ ruling' = [ruling EXCEPT ![Tx] = e.word]
  /\ UNCHANGED submitterVars

(* By what a process saw: the receipt of a nonce that is final. *)
TraceMine(e) ==
  \E b \in sent :
    /\ b.nonce = e.n /\ b.kind = e.kind
    /\ Mine(b)
    /\ chain'[e.n].ok = e.ok

(* An account's nonce that the stranger with its key used and a block gave back, so that nobody has it. *)
TraceSkipped(e) ==
  /\ nextNonce = e.n
  /\ nextNonce' = e.n + 1
  /\ UNCHANGED <<ruling, epoch, row, slot, leads, sent, chain, final, trouble>>

(* WHAT WAS RECORDED. A repeated call changes nothing, and neither does what the model has one of: *)
(* several replacements of one kind, the same bytes sent again, the same block seen again.         *)

TraceAssign(e) == nextNonce = e.n /\ Assign(e.p, {Tx})

TraceAttempt(e) ==
  \/ AddAttempt(e.p, e.n, e.kind)
  \/ /\ Writes(e.p)
     /\ e.kind \in slot[e.n].attempts
     /\ slot[e.n].state \in LiveStates
     /\ Stays

TraceInclude(e) ==
  \/ MarkIncluded(e.p, e.n)
  \/ Writes(e.p) /\ slot[e.n].state = "INCLUDED" /\ Stays

TraceReorg(e) ==
  \/ MarkReorged(e.p, e.n)
  \/ Writes(e.p) /\ slot[e.n].state = "SIGNED" /\ Stays

TraceFinalize(e) ==
  \/ /\ MarkFinalized(e.p, e.n)
     /\ slot'[e.n].state = e.state
     /\ e.row # NONE => row'[Tx] = e.row
  \/ Writes(e.p) /\ slot[e.n].state = e.state /\ Stays

(* A process that stood still may send what is over by now: it is committed, and its nonce is used. *)
TraceSend(e) ==
  LET b == Bytes(e.n, e.kind, slot[e.n].items) IN
  /\ e.kind \in slot[e.n].attempts
  /\ \/ Send(e.p, e.n, e.kind)
     \/ b \in sent /\ Stays
     \/ slot[e.n].state \in FinalStates /\ b \notin sent /\ Stays

(* etcd and PostgreSQL say CONFIRMED only of what is final. *)
TraceConfirm(e) == row[Tx] = "FINALIZED" /\ Stays

-----------------------------------------------------------------------------
TraceStep(e) ==
  \/ e.do = "rule" /\ TraceRule(e)
  \/ e.do = "mine" /\ TraceMine(e)
  \/ e.do = "mine foreign" /\ MineForeign
  \/ e.do = "finality" /\ Finalize
  \/ e.do = "skipped" /\ TraceSkipped(e)
  \/ e.do = "lead" /\ BecomeLeader(e.p)
  \/ e.do = "enqueue" /\ Enqueue(Tx)
  \/ e.do = "assign" /\ TraceAssign(e)
  \/ e.do = "attempt" /\ TraceAttempt(e)
  \/ e.do = "include" /\ TraceInclude(e)
  \/ e.do = "reorg" /\ TraceReorg(e)
  \/ e.do = "finalize" /\ TraceFinalize(e)
  \/ e.do = "abort" /\ AbortQueued(e.p, Tx)
  \/ e.do = "send" /\ TraceSend(e)
  \/ e.do = "confirm" /\ TraceConfirm(e)

TraceInit ==
  /\ SubmissionInit
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
