----------------------------- MODULE Submission -----------------------------
(* How a decided value reaches the chain exactly once.                      *)
(*                                                                          *)
(* Two durable stores and nothing in between: PostgreSQL, where one step is *)
(* one database transaction, and the chain, which may take back what is not *)
(* final. Submitters crash, stand still and wake up again; whoever was      *)
(* leader once may go on acting as if it still were. Bytes that were sent   *)
(* stay somewhere in the network for ever: any of them may be mined at any  *)
(* time, in the order of their nonces. What an endpoint says about a block  *)
(* that is not final may be wrong; what is final is read rightly (two       *)
(* endpoints that agree).                                                   *)
(*                                                                          *)
(* README.md names the function of the program behind every action.         *)
EXTENDS Basics, Integers, FiniteSets, Sequences

CONSTANTS
  Submitters,
  MaxNonce,      \* nonces are 1..MaxNonce
  MaxEpoch,      \* how often leadership changes hands, plus one
  MaxReplaced,   \* what is signed in place of something that is not mined (BUMP, CANCEL)
  MaxForeign,    \* transactions of a stranger who has the account's key
  MaxReverts,    \* mined transactions that revert
  MaxReorgs      \* blocks that leave the chain

VARIABLES
  ruling,     \* ruling[tx]: the write-once decision in etcd: NONE, "SUBMIT" or "ABORT"
  epoch,      \* PostgreSQL: the leader epoch it gave out last
  row,        \* PostgreSQL: row[tx], the state of the submission; NONE without a row
  slot,       \* PostgreSQL: slot[nonce]: [state, items, attempts, epoch]
  nextNonce,  \* PostgreSQL: every lower nonce was taken
  leads,      \* leads[p]: the epoch that p believes to lead in; 0 when it does not
  sent,       \* bytes that went out: [nonce, kind, items]
  chain,      \* the canonical chain of the account: chain[nonce] = [kind, items, ok]
  final,      \* how many of them are final
  trouble     \* what bad luck is left: [foreign, reverts, reorgs, replaced]

submissionVars ==
  <<ruling, epoch, row, slot, nextNonce, leads, sent, chain, final, trouble>>
(* All but the decision, which another module makes. *)
submitterVars == <<epoch, row, slot, nextNonce, leads, sent, chain, final, trouble>>

Nonces == 1..MaxNonce
RowStates == {"QUEUED", "ASSIGNED", "INCLUDED", "FINALIZED", "ABORTED"}
LiveStates == {"SIGNED", "INCLUDED"}
FinalStates == {"FINALIZED_OK", "FINALIZED_REVERTED", "FINALIZED_FOREIGN", "FINALIZED_CANCEL"}
Kinds == {"ORIGINAL", "BUMP", "CANCEL", "GAPFILL"}
NoSlot == [state |-> NONE, items |-> {}, attempts |-> {}, epoch |-> 0]

(* CANCEL and GAPFILL are empty transfers. *)
Carries(kind) == kind \in {"ORIGINAL", "BUMP"}
Bytes(nonce, kind, items) == [nonce |-> nonce, kind |-> kind, items |-> IF Carries(kind) THEN items ELSE {}]
Count == Len(chain)

(* The contract records a key once for ever: of what is mined and did not revert, the first counts. *)
Holders(tx, upTo) == {n \in 1..upTo : chain[n].ok /\ tx \in chain[n].items}
IsRecorded(tx, upTo) == Holders(tx, upTo) # {}

(* Every write that moves a nonce locks the sender row and compares the epoch. *)
IsFenced(p) == leads[p] # epoch /\ ~Flawed("zombie-not-fenced")
Writes(p) == leads[p] # 0 /\ ~IsFenced(p)

LiveSlotsOf(tx) == {n \in Nonces : slot[n].state \in LiveStates /\ tx \in slot[n].items}

-----------------------------------------------------------------------------
(* POSTGRESQL                                                               *)

BecomeLeader(p) ==
  /\ leads[p] = 0
  /\ epoch < MaxEpoch
  /\ epoch' = epoch + 1
  /\ leads' = [leads EXCEPT ![p] = epoch + 1]
  /\ UNCHANGED <<ruling, row, slot, nextNonce, sent, chain, final, trouble>>

(* What it had in memory is gone; all that counts is stored. (The model's last leader stays, *)
(* or nothing could be said about how it ends.)                                              *)
Crash(p) ==
  /\ leads[p] \notin {0, MaxEpoch}
  /\ leads' = [leads EXCEPT ![p] = 0]
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, sent, chain, final, trouble>>

(* After the claim, never before. *)
Enqueue(tx) ==
  /\ row[tx] = NONE
  /\ ruling[tx] = "SUBMIT" \/ (Flawed("queued-before-claim") /\ ruling[tx] = NONE)
  /\ row' = [row EXCEPT ![tx] = "QUEUED"]
  /\ UNCHANGED <<ruling, epoch, slot, nextNonce, leads, sent, chain, final, trouble>>

(* The abort gate: etcd is asked once more before a nonce is taken. *)
AbortQueued(p, tx) ==
  /\ Writes(p)
  /\ row[tx] = "QUEUED"
  /\ ruling[tx] = "ABORT"
  /\ row' = [row EXCEPT ![tx] = "ABORTED"]
  /\ UNCHANGED <<ruling, epoch, slot, nextNonce, leads, sent, chain, final, trouble>>

(* The contract holds it already, at a final block: nothing is sent. *)
SettleRecorded(p, tx) ==
  /\ Writes(p)
  /\ row[tx] = "QUEUED"
  /\ IsRecorded(tx, final)
  /\ row' = [row EXCEPT ![tx] = "FINALIZED"]
  /\ UNCHANGED <<ruling, epoch, slot, nextNonce, leads, sent, chain, final, trouble>>

Assignable(tx) ==
  /\ row[tx] = "QUEUED"
  /\ ~IsRecorded(tx, Count)
  /\ ruling[tx] # "ABORT" \/ Flawed("queued-before-claim")

(* ONE database transaction: the nonce, the items, and the signed bytes. *)
Assign(p, items) ==
  /\ Writes(p)
  /\ nextNonce <= MaxNonce
  /\ items # {}
  /\ \A tx \in items : Assignable(tx)
  /\ row' = [tx \in TxIds |-> IF tx \in items THEN "ASSIGNED" ELSE row[tx]]
  /\ slot' = [slot EXCEPT ![nextNonce] =
       [state |-> "SIGNED", items |-> items, attempts |-> {"ORIGINAL"}, epoch |-> leads[p]]]
  /\ nextNonce' = nextNonce + 1
  /\ UNCHANGED <<ruling, epoch, leads, sent, chain, final, trouble>>

(* A stranger used nonces: the next one is raised above them, and what lies below stays empty. *)
RaiseFloor(p) ==
  /\ Writes(p)
  /\ nextNonce <= Count
  /\ nextNonce' = Count + 1
  /\ UNCHANGED <<ruling, epoch, row, slot, leads, sent, chain, final, trouble>>

(* A replacement, a cancellation, or something for a nonce that nobody uses. Nothing that was  *)
(* signed before is forgotten.                                                                 *)
AddAttempt(p, n, kind) ==
  /\ Writes(p)
  /\ n < nextNonce
  /\ kind \notin slot[n].attempts
  /\ \/ /\ kind \in {"BUMP", "CANCEL"}
        /\ trouble.replaced > 0
        /\ slot[n].state \in LiveStates
        /\ slot[n].items # {}
     \/ kind = "GAPFILL" /\ slot[n].state = NONE
  /\ slot' = [slot EXCEPT
       ![n].attempts = @ \cup {kind},
       ![n].state = IF kind = "GAPFILL" THEN "SIGNED" ELSE @,
       ![n].epoch = IF kind = "GAPFILL" THEN leads[p] ELSE @]
  /\ trouble' = [trouble EXCEPT !.replaced = IF kind = "GAPFILL" THEN trouble.replaced ELSE trouble.replaced - 1]
  /\ UNCHANGED <<ruling, epoch, row, nextNonce, leads, sent, chain, final>>

(* What one endpoint says of a block decides nothing for good, so it may as well be wrong: any *)
(* bytes that went out may seem to be mined, and what is mined may seem not to be.             *)
MarkIncluded(p, n) ==
  /\ Writes(p)
  /\ slot[n].state = "SIGNED"
  /\ \E b \in sent : b.nonce = n
  /\ slot' = [slot EXCEPT ![n].state = "INCLUDED"]
  /\ row' = [tx \in TxIds |-> IF tx \in slot[n].items THEN "INCLUDED" ELSE row[tx]]
  /\ UNCHANGED <<ruling, epoch, nextNonce, leads, sent, chain, final, trouble>>

MarkReorged(p, n) ==
  /\ Writes(p)
  /\ slot[n].state = "INCLUDED"
  /\ n > final
  /\ slot' = [slot EXCEPT ![n].state = "SIGNED"]
  /\ row' = [tx \in TxIds |-> IF tx \in slot[n].items THEN "ASSIGNED" ELSE row[tx]]
  /\ UNCHANGED <<ruling, epoch, nextNonce, leads, sent, chain, final, trouble>>

(* What has become of a nonce, by what is on the chain at it. *)
IsOurs(n) == chain[n].kind \in slot[n].attempts
EndOf(n) ==
  IF ~IsOurs(n) THEN "FINALIZED_FOREIGN"
  ELSE IF ~chain[n].ok THEN "FINALIZED_REVERTED"
  ELSE IF Carries(chain[n].kind) THEN "FINALIZED_OK"
  ELSE "FINALIZED_CANCEL"

(* The nonce is final. What the contract holds at a final block decides: a result goes again   *)
(* only when it holds nothing.                                                                 *)
MarkFinalized(p, n) ==
  /\ Writes(p)
  /\ slot[n].state \in LiveStates
  /\ n <= (IF Flawed("final-at-inclusion") THEN Count ELSE final)
  /\ slot' = [slot EXCEPT ![n].state = EndOf(n)]
  /\ row' = [tx \in TxIds |->
       IF tx \notin slot[n].items THEN row[tx]
       ELSE IF IsRecorded(tx, IF Flawed("final-at-inclusion") THEN Count ELSE final)
         THEN "FINALIZED"
       ELSE "QUEUED"]
  /\ UNCHANGED <<ruling, epoch, nextNonce, leads, sent, chain, final, trouble>>

-----------------------------------------------------------------------------
(* SENDING. Only what was committed, and not fenced: the lease is for efficiency, and the same *)
(* bytes twice are harmless.                                                                   *)
Send(p, n, kind) ==
  /\ leads[p] # 0
  /\ kind \in slot[n].attempts
  /\ slot[n].state \in LiveStates
  /\ Bytes(n, kind, slot[n].items) \notin sent
  /\ sent' = sent \cup {Bytes(n, kind, slot[n].items)}
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, chain, final, trouble>>

-----------------------------------------------------------------------------
(* PLANTED DEFECTS: steps that the program must not have.                                      *)
SendBeforeCommit(p, tx) ==
  /\ Flawed("send-before-commit")
  /\ Writes(p)
  /\ nextNonce <= MaxNonce
  /\ Assignable(tx)
  /\ Bytes(nextNonce, "ORIGINAL", {tx}) \notin sent
  /\ sent' = sent \cup {Bytes(nextNonce, "ORIGINAL", {tx})}
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, chain, final, trouble>>

(* Not mined for long, so it is tried again under a new nonce. *)
ResubmitWhileAlive(p, n) ==
  /\ Flawed("resubmit-while-alive")
  /\ Writes(p)
  /\ slot[n].state = "SIGNED"
  /\ \E tx \in slot[n].items : row[tx] = "ASSIGNED"
  /\ row' = [tx \in TxIds |-> IF tx \in slot[n].items THEN "QUEUED" ELSE row[tx]]
  /\ UNCHANGED <<ruling, epoch, slot, nextNonce, leads, sent, chain, final, trouble>>

(* A stranger's transaction at the head is taken for good. *)
ForeignAtHead(p, n) ==
  /\ Flawed("foreign-at-head")
  /\ Writes(p)
  /\ slot[n].state \in LiveStates
  /\ n <= Count
  /\ ~IsOurs(n)
  /\ slot' = [slot EXCEPT ![n].state = "FINALIZED_FOREIGN"]
  /\ row' = [tx \in TxIds |-> IF tx \in slot[n].items THEN "QUEUED" ELSE row[tx]]
  /\ UNCHANGED <<ruling, epoch, nextNonce, leads, sent, chain, final, trouble>>

-----------------------------------------------------------------------------
(* THE CHAIN                                                                *)

Mine(b) ==
  /\ b.nonce = Count + 1
  /\ \E ok \in BOOLEAN :
       /\ ok \/ (trouble.reverts > 0 /\ Carries(b.kind))
       /\ chain' = Append(chain, [kind |-> b.kind, items |-> b.items, ok |-> ok])
       /\ trouble' = [trouble EXCEPT !.reverts = IF ok THEN trouble.reverts ELSE trouble.reverts - 1]
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, sent, final>>

MineForeign ==
  /\ trouble.foreign > 0
  /\ Count < MaxNonce
  /\ chain' = Append(chain, [kind |-> "FOREIGN", items |-> {}, ok |-> TRUE])
  /\ trouble' = [trouble EXCEPT !.foreign = trouble.foreign - 1]
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, sent, final>>

Finalize ==
  /\ final < Count
  /\ final' = final + 1
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, sent, chain, trouble>>

Reorg ==
  /\ trouble.reorgs > 0
  /\ final < Count
  /\ \E keep \in final..(Count - 1) : chain' = SubSeq(chain, 1, keep)
  /\ trouble' = [trouble EXCEPT !.reorgs = trouble.reorgs - 1]
  /\ UNCHANGED <<ruling, epoch, row, slot, nextNonce, leads, sent, final>>

(* The decision, when no other module makes it. *)
Rule(tx) ==
  /\ ruling[tx] = NONE
  /\ \E word \in {"SUBMIT", "ABORT"} : ruling' = [ruling EXCEPT ![tx] = word]
  /\ UNCHANGED submitterVars

-----------------------------------------------------------------------------
SubmissionInit ==
  /\ ruling = [tx \in TxIds |-> NONE]
  /\ epoch = 0
  /\ row = [tx \in TxIds |-> NONE]
  /\ slot = [n \in Nonces |-> NoSlot]
  /\ nextNonce = 1
  /\ leads = [p \in Submitters |-> 0]
  /\ sent = {}
  /\ chain = <<>>
  /\ final = 0
  /\ trouble = [foreign |-> MaxForeign, reverts |-> MaxReverts, reorgs |-> MaxReorgs,
                replaced |-> MaxReplaced]

SubmitterStep ==
  \/ \E p \in Submitters : BecomeLeader(p)
  \/ \E p \in Submitters : Crash(p)
  \/ \E p \in Submitters, tx \in TxIds : AbortQueued(p, tx)
  \/ \E p \in Submitters, tx \in TxIds : SettleRecorded(p, tx)
  \/ \E p \in Submitters, items \in SUBSET TxIds : Assign(p, items)
  \/ \E p \in Submitters : RaiseFloor(p)
  \/ \E p \in Submitters, n \in Nonces, kind \in Kinds : AddAttempt(p, n, kind)
  \/ \E p \in Submitters, n \in Nonces : MarkIncluded(p, n)
  \/ \E p \in Submitters, n \in Nonces : MarkReorged(p, n)
  \/ \E p \in Submitters, n \in Nonces : MarkFinalized(p, n)
  \/ \E p \in Submitters, n \in Nonces, kind \in Kinds : Send(p, n, kind)
  \/ \E p \in Submitters, tx \in TxIds : SendBeforeCommit(p, tx)
  \/ \E p \in Submitters, n \in Nonces : ResubmitWhileAlive(p, n)
  \/ \E p \in Submitters, n \in Nonces : ForeignAtHead(p, n)

ChainStep ==
  \/ \E b \in sent : Mine(b)
  \/ MineForeign
  \/ Finalize
  \/ Reorg

SubmissionSteps ==
  \/ \E tx \in TxIds : Enqueue(tx)
  \/ SubmitterStep
  \/ ChainStep

(* Nothing is left to be done; any other state without a step is a deadlock. *)
SubmissionDone ==
  /\ \A tx \in TxIds : ruling[tx] = "SUBMIT" => row[tx] = "FINALIZED"
  /\ UNCHANGED submissionVars

SubmissionNext == SubmissionSteps \/ (\E tx \in TxIds : Rule(tx)) \/ SubmissionDone

(* Somebody leads in the end, and whoever leads last goes on; what is sent is mined, what is   *)
(* mined becomes final.                                                                        *)
SubmissionFairness ==
  /\ \A tx \in TxIds : WF_submissionVars(Enqueue(tx))
  /\ WF_submissionVars(\E p \in Submitters : BecomeLeader(p))
  /\ WF_submissionVars(\E p \in Submitters, tx \in TxIds : AbortQueued(p, tx))
  /\ WF_submissionVars(\E p \in Submitters, tx \in TxIds : SettleRecorded(p, tx))
  /\ WF_submissionVars(\E p \in Submitters : RaiseFloor(p))
  /\ WF_submissionVars(\E p \in Submitters, n \in Nonces : AddAttempt(p, n, "GAPFILL"))
  /\ \A tx \in TxIds : WF_submissionVars(\E p \in Submitters, items \in SUBSET TxIds : tx \in items /\ Assign(p, items))
  /\ \A n \in Nonces : WF_submissionVars(\E p \in Submitters, kind \in Kinds : Send(p, n, kind))
  /\ \A n \in Nonces : WF_submissionVars(\E p \in Submitters : MarkFinalized(p, n))
  /\ WF_submissionVars(\E b \in sent : Mine(b))
  /\ WF_submissionVars(Finalize)

SubmissionSpec == SubmissionInit /\ [][SubmissionNext]_submissionVars /\ SubmissionFairness

-----------------------------------------------------------------------------
(* WHAT MUST ALWAYS HOLD                                                    *)

SubmissionTypes ==
  /\ \A tx \in TxIds : ruling[tx] \in {NONE, "SUBMIT", "ABORT"}
  /\ \A tx \in TxIds : row[tx] \in RowStates \cup {NONE}
  /\ \A n \in Nonces :
       /\ slot[n].state \in LiveStates \cup FinalStates \cup {NONE}
       /\ slot[n].items \subseteq TxIds
       /\ slot[n].attempts \subseteq Kinds
       /\ slot[n].epoch \in 0..MaxEpoch
  /\ nextNonce \in 1..(MaxNonce + 1)
  /\ final \in 0..Count
  /\ \A p \in Submitters : leads[p] \in 0..epoch

(* R9 (1). Only bytes of a committed attempt are ever sent. *)
OnlyCommittedBytesAreSent ==
  \A b \in sent :
    /\ b.kind \in slot[b.nonce].attempts
    /\ b = Bytes(b.nonce, b.kind, slot[b.nonce].items)

(* R9 (2). A transaction has at most one live nonce, and is not queued while it has one. *)
OneLiveNonce ==
  \A tx \in TxIds :
    /\ Cardinality(LiveSlotsOf(tx)) <= 1
    /\ row[tx] \in {"ASSIGNED", "INCLUDED"} <=> LiveSlotsOf(tx) # {}

(* I1, R9 (5), stronger than what the contract's guard gives: it is never even needed. *)
NoDuplicateOnChain == \A tx \in TxIds : Cardinality(Holders(tx, Count)) <= 1

(* FINALIZED means that it is on the chain for good; and what is final never goes again. *)
FinalizedIsFinal ==
  \A tx \in TxIds : row[tx] = "FINALIZED" => IsRecorded(tx, final)

(* I3. Nothing of an aborted transaction is ever sent, still less recorded. *)
NoSubmissionAfterAbort ==
  \A tx \in TxIds : (\E b \in sent : tx \in b.items) => ruling[tx] = "SUBMIT"

(* A nonce is taken under an epoch that is not older than the one before it. *)
EpochsAscend ==
  \A m, n \in Nonces :
    m < n /\ "ORIGINAL" \in slot[m].attempts /\ "ORIGINAL" \in slot[n].attempts =>
      slot[m].epoch <= slot[n].epoch

(* R9 (3). Attempts are never forgotten; what is final stays as it is. *)
NothingIsForgotten ==
  /\ \A n \in Nonces :
       /\ slot[n].attempts \subseteq slot'[n].attempts
       /\ slot[n].state \in FinalStates => slot'[n] = slot[n]
  /\ \A tx \in TxIds : row[tx] \in {"FINALIZED", "ABORTED"} => row'[tx] = row[tx]
SlotsStay == [][NothingIsForgotten]_submissionVars

-----------------------------------------------------------------------------
(* WHAT MUST HAPPEN IN THE END. The nonces must suffice for the chain's bad luck.              *)
EveryClaimIsFinalized ==
  \A tx \in TxIds : ruling[tx] = "SUBMIT" ~> row[tx] = "FINALIZED"
=============================================================================
