------------------------------- MODULE Voting -------------------------------
(* How votes become ONE decision per transaction.                           *)
(*                                                                          *)
(* The granularity is the one that is real: a step of the tally is one etcd *)
(* Txn. A node takes a snapshot of a transaction, the pure function Decide  *)
(* says what to write, and the write goes through only while its guards     *)
(* hold. All votes and accusations that wait together are folded into one   *)
(* such commit, so `Commit` takes a SET of votes.                           *)
(*                                                                          *)
(* Environment: trustees sign (honest ones one value a transaction,         *)
(* Byzantine ones what they like, bad signatures included), clocks pass     *)
(* deadlines, operators lift bans. What is signed stays available: every    *)
(* node that has seen a vote keeps it until the tally has it.               *)
(*                                                                          *)
(* README.md names the function of the program behind every action.         *)
EXTENDS Basics, Integers, FiniteSets

CONSTANTS
  Trustees,          \* the trustee set of the epoch
  Threshold,         \* t
  Values,
  Byzantine,         \* trustees that may break every rule
  Undecided,         \* honest trustees that may sign any value; the others sign Agreed
  Agreed,            \* the value that honest trustees who know it sign
  Policy,            \* "strict-abort" or "quarantine-and-continue"
  Profile,           \* "strict" or "balanced"
  SilenceStreakMax,  \* silent transactions in a row that ban under "balanced"
  Timely,            \* TRUE: a deadline passes only when no vote of an honest quorum waits to be recorded
  Forging,           \* TRUE: Byzantine trustees may send invalid signatures
  SlowNodes,         \* TRUE: some node or submitter commits on a snapshot taken earlier
  Lifts,             \* TRUE: operators may end OPINION bans
  BannedBefore       \* trustees with an OPINION ban from transactions before these

ASSUME
  /\ Byzantine \subseteq Trustees
  /\ Undecided \subseteq Trustees \ Byzantine
  /\ Agreed \in Values
  /\ Threshold \in 1..Cardinality(Trustees)
  /\ Policy \in {"strict-abort", "quarantine-and-continue"}
  /\ Profile \in {"strict", "balanced"}

VARIABLES
  signed,    \* signed[tx]: the votes <<trustee, value>> that were ever signed
  met,       \* met[tx]: t honest trustees had signed one value before the deadline; once true, always
  forgers,   \* trustees that sent an invalid signature under their own envelope
  tally,     \* tally[tx]: what etcd holds of a transaction, a Snapshot
  bans,      \* bans[n]: "none", "OPINION" or "PROOF"
  streaks,   \* streaks[n]: length of the trustee's silent run
  forgeries, \* trustees with a recorded INVALID_SIGNATURE violation
  due,       \* due[tx]: the deadline has passed
  settled,   \* settled[tx]: the submitter's settle window over the present threshold is over
  view       \* a snapshot that somebody still works on, or NONE

votingVars == <<signed, met, forgers, tally, bans, streaks, forgeries, due, settled, view>>

Honest == Trustees \ Byzantine
Votes == Trustees \X Values
Statuses == {"IDLE", "COLLECTING", "THRESHOLD_REACHED", "SUBMITTED", "CONFIRMED", "ABORTED_BYZANTINE"}
Settled == {"SUBMITTED", "CONFIRMED", "ABORTED_BYZANTINE"}
AbortReasons == {"DOUBLE_VOTING", "MINORITY_VOTE", "SPLIT_VOTE", "QUORUM_UNREACHABLE", "SILENT_FAILURE"}
Decisions == {<<"SUBMIT", v>> : v \in Values} \cup {<<"ABORT", r>> : r \in AbortReasons}
Crimes == {"DOUBLE_VOTING", "MINORITY_VOTE", "SILENT_FAILURE"}

(* The keys of one transaction in etcd: status, votes, counters, record (value, unanimous, *)
(* excluded, absent), violations, and the write-once decision.                            *)
EmptySnapshot == [
  status     |-> "IDLE",
  votes      |-> [n \in Trustees |-> NONE],
  counts     |-> [v \in Values |-> 0],
  value      |-> NONE,
  unanimous  |-> FALSE,
  excluded   |-> {},
  absent     |-> NONE,
  violations |-> {},
  decision   |-> NONE]

Criminals(S, crime) == {n \in Trustees : <<n, crime>> \in S.violations}

-----------------------------------------------------------------------------
(* THE RULES. Judged over the whole vote set at each commit, in whatever order it came.    *)
(*   S        the snapshot that is decided on                                              *)
(*   new      votes <<n, v>> to record, at most one of a trustee, of trustees without one  *)
(*   doubles  trustees of whom another value than the recorded or new one is at hand       *)
(*   judge    the deadline has passed and silence is judged                                *)
(*   trouble  the tally could not be written for a while: silence proves nothing           *)
(*   seen     the bans as the deciding node knows them, perhaps not the newest             *)
(* In stages, each handed what the one before it found: G, what is gathered; W, the values *)
(* that have t votes; M, who stands against the one of them.                               *)

Gather(S, new, doubles, seen) == [
  votes        |-> [n \in Trustees |->
                     IF \E b \in new : b[1] = n THEN (CHOOSE b \in new : b[1] = n)[2] ELSE S.votes[n]],
  equivocators |-> Criminals(S, "DOUBLE_VOTING") \cup doubles,
  banned       |-> {n \in Trustees : seen[n] # "none"},
  \* Who was banned when the transaction opened is not waited for, for all its life.
  excluded     |-> IF S.status = "IDLE" THEN {n \in Trustees : seen[n] # "none"} ELSE S.excluded]

(* An equivocator's vote elects nothing. *)
Effective(G) ==
  {n \in Trustees :
     G.votes[n] # NONE /\ (n \notin G.equivocators \/ Flawed("equivocator-counts"))}
VotesFor(S, new, G, v) ==
  IF Flawed("count-before-store")
  THEN S.counts[v] + Cardinality({b \in new : b[2] = v})
  ELSE Cardinality({n \in Effective(G) : G.votes[n] = v})

(* What has been submitted is the majority, whatever is found out about its voters later. *)
Winners(S, new, G) ==
  IF S.status \in {"SUBMITTED", "CONFIRMED"} THEN {S.value}
  ELSE {v \in Values : VotesFor(S, new, G, v) >= Threshold}

(* Whoever stands against a value that has t votes, whichever came first (spec 3.1 type 2). *)
Against(S, new, G, winner) ==
  IF VotesFor(S, new, G, winner) < Threshold THEN {}
  ELSE {n \in Effective(G) \ Criminals(S, "MINORITY_VOTE") :
          /\ G.votes[n] # winner
          /\ ~Flawed("dissent-first-missed") \/ \E b \in new : b[1] = n}
Minority(S, new, G, W) ==
  IF Cardinality(W) = 1 THEN Against(S, new, G, CHOOSE v \in W : TRUE) ELSE {}

Verdict(status, value) == [status |-> status, value |-> value, abort |-> NONE]
Aborted(reason) == [status |-> "ABORTED_BYZANTINE", value |-> NONE, abort |-> reason]

(* Rule 4: no value can reach t any more, even if all who may still vote agreed. *)
IsHopeless(S, new, G) ==
  \A v \in Values :
    VotesFor(S, new, G, v)
      + Cardinality({n \in Trustees \ (G.banned \cup G.excluded) :
                       G.votes[n] = NONE /\ ~Flawed("given-up-too-soon")}) < Threshold

Judge(S, new, G, W, M, judge) ==
  IF \/ S.status \in {"CONFIRMED", "ABORTED_BYZANTINE"}
     \/ S.status = "SUBMITTED" /\ ~Flawed("abort-after-claim")
    THEN Verdict(S.status, S.value)
  ELSE IF Policy = "strict-abort" /\ G.equivocators # {}
    THEN Aborted("DOUBLE_VOTING")
  ELSE IF Policy = "strict-abort" /\ (M # {} \/ Criminals(S, "MINORITY_VOTE") # {})
    THEN Aborted("MINORITY_VOTE")
  ELSE IF S.status = "SUBMITTED"
    THEN Verdict(S.status, S.value)
  ELSE IF Cardinality(W) > 1
    THEN Aborted("SPLIT_VOTE")
  ELSE IF Cardinality(W) = 1
    THEN Verdict("THRESHOLD_REACHED", CHOOSE v \in W : TRUE)
  ELSE IF IsHopeless(S, new, G)
    THEN Aborted(IF Cardinality({G.votes[n] : n \in Effective(G)}) > 1
                 THEN "SPLIT_VOTE" ELSE "QUORUM_UNREACHABLE")
  ELSE IF judge
    THEN Aborted("SILENT_FAILURE")
  ELSE Verdict("COLLECTING", NONE)

(* Rule 5. Silence is judged once; more absentees than N - t are an outage, and nobody's fault. *)
Expected(G) == Trustees \ (G.excluded \cup G.banned)
Missing(G) == {n \in Expected(G) : G.votes[n] = NONE}
IsOutage(missing, trouble) ==
  \/ Cardinality(missing) > Cardinality(Trustees) - Threshold
  \/ trouble /\ missing # {}
Longer(run) == IF run < SilenceStreakMax THEN run + 1 ELSE run
SilenceOf(G, missing, outage) == [
  absent  |-> missing,
  silent  |-> IF outage THEN {} ELSE missing,
  streaks |-> [n \in Trustees |->
                IF outage \/ n \notin Expected(G) THEN streaks[n]
                ELSE IF n \in missing THEN Longer(streaks[n]) ELSE 0]]
Silence(S, G, judge, trouble) ==
  IF judge /\ S.absent = NONE /\ S.status # "ABORTED_BYZANTINE"
  THEN SilenceOf(G, Missing(G), IsOutage(Missing(G), trouble))
  ELSE [absent |-> S.absent, silent |-> {}, streaks |-> streaks]

IsUnanimous(G, W, value, offenders) ==
  /\ value # NONE
  /\ offenders = {}
  /\ \A n \in Trustees \ G.excluded : G.votes[n] = value
  /\ Cardinality(Effective(G)) >= Cardinality(Trustees \ G.excluded)

Outcome(S, new, doubles, seen, G, W, M, verdict, silence) == [
  status     |-> verdict.status,
  votes      |-> G.votes,
  counts     |-> [v \in Values |->
                    IF Flawed("count-before-store") THEN VotesFor(S, new, G, v)
                    ELSE Cardinality({n \in Trustees : G.votes[n] = v})],
  value      |-> verdict.value,
  unanimous  |-> IsUnanimous(G, W, verdict.value, G.equivocators \cup M \cup Criminals(S, "MINORITY_VOTE")),
  excluded   |-> G.excluded,
  absent     |-> silence.absent,
  violations |-> {<<n, "DOUBLE_VOTING">> : n \in doubles}
                   \cup {<<n, "MINORITY_VOTE">> : n \in M}
                   \cup {<<n, "SILENT_FAILURE">> : n \in silence.silent},
  decision   |-> IF verdict.abort = NONE THEN NONE ELSE <<"ABORT", verdict.abort>>,
  \* One ban a trustee, the strongest reason first; none that is known to stand already.
  proofs     |-> {n \in doubles : seen[n] # "PROOF"},
  opinions   |-> {n \in M \cup {m \in silence.silent :
                                  Profile = "strict" \/ silence.streaks[m] >= SilenceStreakMax} :
                    seen[n] = "none" /\ n \notin doubles},
  streaks    |-> silence.streaks]

DecideM(S, new, doubles, judge, trouble, seen, G, W, M) ==
  Outcome(S, new, doubles, seen, G, W, M, Judge(S, new, G, W, M, judge), Silence(S, G, judge, trouble))
DecideW(S, new, doubles, judge, trouble, seen, G, W) ==
  DecideM(S, new, doubles, judge, trouble, seen, G, W, Minority(S, new, G, W))
DecideG(S, new, doubles, judge, trouble, seen, G) ==
  DecideW(S, new, doubles, judge, trouble, seen, G, Winners(S, new, G))
Decide(S, new, doubles, judge, trouble, seen) ==
  DecideG(S, new, doubles, judge, trouble, seen, Gather(S, new, doubles, seen))

-----------------------------------------------------------------------------
(* ONE COMMIT                                                                              *)

(* What the Txn's puts leave in etcd: only the keys that it names change. *)
Put(current, new, D) == [
  status     |-> D.status,
  votes      |-> [n \in Trustees |->
                    IF \E b \in new : b[1] = n THEN D.votes[n] ELSE current.votes[n]],
  counts     |-> [v \in Values |->
                    IF \E b \in new : b[2] = v THEN D.counts[v] ELSE current.counts[v]],
  value      |-> D.value,
  unanimous  |-> D.unanimous,
  excluded   |-> D.excluded,
  absent     |-> D.absent,
  violations |-> current.violations \cup D.violations,
  decision   |-> IF D.decision # NONE THEN D.decision ELSE current.decision]

(* The guards besides the status key's revision: no vote is written over another, no voter is *)
(* banned, an OPINION is written only where there is no ban, the decision is written once,    *)
(* and the silent runs are what they were.                                                    *)
Guards(tx, S, new, D) ==
  /\ \A b \in new :
       \/ tally[tx].votes[b[1]] = NONE
       \/ Flawed("vote-overwritten") \/ Flawed("count-before-store")
  /\ \A b \in new : bans[b[1]] = "none" \/ Flawed("voter-ban-not-guarded")
  /\ \A n \in D.opinions : bans[n] = "none" \/ Flawed("opinion-over-proof")
  /\ D.decision # NONE \/ S.status = "IDLE" =>
       tally[tx].decision = NONE \/ Flawed("abort-after-claim")

(* The guard on the status key: nobody has committed since S was read. Every commit rewrites *)
(* that key, so `current` stands for its modification revision.                              *)
Touch(tx) == IF view # NONE /\ view.tx = tx THEN [view EXCEPT !.current = FALSE] ELSE view

(* (An existential over one element binds a value once; some checkers would work it out again *)
(* at each mention.)                                                                          *)
Write(tx, S, new, doubles, judge, trouble, seen) ==
  \E D \in {Decide(S, new, doubles, judge, trouble, seen)} :
    \E after \in {Put(tally[tx], new, D)} :
      /\ after # tally[tx]
      /\ Guards(tx, S, new, D)
      /\ tally' = [tally EXCEPT ![tx] = after]
      /\ bans' = [n \in Trustees |->
           IF n \in D.proofs THEN "PROOF" ELSE IF n \in D.opinions THEN "OPINION" ELSE bans[n]]
      /\ streaks' = D.streaks
      /\ settled' = [settled EXCEPT ![tx] = settled[tx] /\ after.status = "THRESHOLD_REACHED"]

(* Votes at hand that the tally does not have, of trustees that are not banned. *)
Recordable(S, tx, seen) ==
  {b \in signed[tx] : S.votes[b[1]] = NONE /\ seen[b[1]] = "none"}
OnePerTrustee(new) == \A a, b \in new : a[1] = b[1] => a = b
NewVotes(S, tx, seen) ==
  IF Flawed("vote-overwritten") \/ Flawed("count-before-store")
  THEN {new \in SUBSET {b \in signed[tx] : seen[b[1]] = "none"} : OnePerTrustee(new)}
  ELSE {new \in SUBSET Recordable(S, tx, seen) : OnePerTrustee(new)}

(* Trustees that signed another value than the recorded or new one, and are not accused of it. *)
HasTwo(n, tx) == \E a \in signed[tx] : a[1] = n /\ \E b \in signed[tx] : b[1] = n /\ a # b
Equivocators(S, tx, new) ==
  {n \in Byzantine \ Criminals(S, "DOUBLE_VOTING") :
     (S.votes[n] # NONE \/ \E b \in new : b[1] = n) /\ HasTwo(n, tx)}

(* A node may not have heard of the newest bans. *)
SeenBans ==
  {[n \in Trustees |-> IF n \in unheard THEN "none" ELSE bans[n]] :
     unheard \in SUBSET {n \in Trustees : bans[n] # "none"}}

(* One etcd Txn of one transaction, by a node that has its newest snapshot. *)
Commit(tx, new, doubles, judge, trouble, seen) ==
  /\ tally[tx].status # "IDLE" \/ new # {}
  /\ judge => due[tx]
  /\ Write(tx, tally[tx], new, doubles, judge, trouble, seen)
  /\ view' = Touch(tx)
  /\ UNCHANGED <<signed, met, forgers, forgeries, due>>

-----------------------------------------------------------------------------
(* WHO COMMITS WHEN                                                                        *)

(* Votes and accusations that wait are recorded, in any company and order. *)
RecordVotes(tx) ==
  \E seen \in SeenBans :
    \E new \in NewVotes(tally[tx], tx, seen) :
      \E doubles \in SUBSET Equivocators(tally[tx], tx, new) :
        /\ new # {} \/ doubles # {}
        /\ Commit(tx, new, doubles, FALSE, FALSE, seen)

(* The deadline monitor has silence judged, when there is something to judge. *)
NeedsJudging(tx) ==
  LET S == tally[tx]
      missing == {n \in Trustees : S.votes[n] = NONE /\ n \notin S.excluded /\ bans[n] = "none"}
  IN /\ due[tx]
     /\ S.status \notin {"IDLE", "ABORTED_BYZANTINE"}
     \* Also one that lost its threshold after silence was judged: nothing else would ever end it.
     /\ \/ S.status = "COLLECTING" /\ (S.absent = NONE \/ ~Flawed("judged-once-only"))
        \/ S.absent = NONE /\ missing # {}
        \/ S.absent = NONE /\ \E n \in Trustees : streaks[n] > 0
        \* And one whose claim an equivocation forbids that was recorded by itself.
        \/ /\ S.status = "THRESHOLD_REACHED"
           /\ Policy = "strict-abort"
           /\ Criminals(S, "DOUBLE_VOTING") # {}
           /\ ~Flawed("threshold-left-standing")

JudgeDeadline(tx) ==
  /\ NeedsJudging(tx)
  /\ \E seen \in SeenBans, trouble \in BOOLEAN :
       \E new \in NewVotes(tally[tx], tx, seen) :
         Commit(tx, new, {}, TRUE, trouble, seen)

(* The submitter takes the transaction: all expected trustees agree, or the settle window is *)
(* over; t recorded votes verify; under strict-abort nobody is against it.                   *)
Backed(S, v) ==
  LET effective == {n \in Trustees :
        /\ S.votes[n] # NONE
        /\ <<n, "DOUBLE_VOTING">> \notin S.violations \/ Flawed("equivocator-counts")}
      Reached(w) == Cardinality({n \in effective : S.votes[n] = w}) >= Threshold
  IN /\ S.value = v
     /\ \A w \in Values : Reached(w) <=> w = v
     /\ Policy = "strict-abort" =>
          /\ \A n \in effective : S.votes[n] = v
          /\ Criminals(S, "DOUBLE_VOTING") = {}

ClaimOn(tx, S, v) ==
  /\ S.status = "THRESHOLD_REACHED"
  /\ S.unanimous \/ settled[tx] \/ Flawed("settle-ignored")
  /\ Backed(S, v) \/ (Flawed("count-before-store") /\ S.value = v)
  /\ tally[tx].decision = NONE \/ Flawed("guard-dropped")
  /\ tally' = [tally EXCEPT ![tx].status = "SUBMITTED", ![tx].value = S.value,
                            ![tx].unanimous = S.unanimous, ![tx].absent = S.absent,
                            ![tx].decision = <<"SUBMIT", v>>]
  /\ settled' = [settled EXCEPT ![tx] = FALSE]

Claim(tx, v) ==
  /\ ClaimOn(tx, tally[tx], v)
  /\ view' = Touch(tx)
  /\ UNCHANGED <<signed, met, forgers, bans, streaks, forgeries, due>>

(* The value is final on the chain. *)
Confirm(tx) ==
  /\ tally[tx].status = "SUBMITTED"
  /\ tally' = [tally EXCEPT ![tx].status = "CONFIRMED"]
  /\ view' = Touch(tx)
  /\ UNCHANGED <<signed, met, forgers, bans, streaks, forgeries, due, settled>>

(* Two values of a trustee whose votes the transaction refuses, for it is banned: a violation *)
(* by itself. It does not touch the status key.                                               *)
Accuse(n, tx) ==
  /\ ~Flawed("refused-unheeded")
  /\ bans[n] = "OPINION"
  /\ tally[tx].votes[n] = NONE
  /\ HasTwo(n, tx)
  /\ <<n, "DOUBLE_VOTING">> \notin tally[tx].violations
  /\ tally' = [tally EXCEPT ![tx].violations = @ \cup {<<n, "DOUBLE_VOTING">>}]
  /\ bans' = [bans EXCEPT ![n] = "PROOF"]
  /\ UNCHANGED <<signed, met, forgers, streaks, forgeries, due, settled, view>>

Blamed(author, named) == IF Flawed("named-is-blamed") THEN named ELSE author
(* An invalid vote under `author`'s valid envelope, which names whom it likes: recorded by    *)
(* itself, and the author is banned. The envelope is the proof (R2).                          *)
RecordForgery(author, named) ==
  /\ Forging
  /\ Blamed(author, named) \notin forgeries
  /\ forgers' = forgers \cup {author}
  /\ forgeries' = forgeries \cup {Blamed(author, named)}
  /\ bans' = [bans EXCEPT ![Blamed(author, named)] = "PROOF"]
  /\ UNCHANGED <<signed, met, tally, streaks, due, settled, view>>

LiftBan(n) ==
  /\ Lifts
  /\ bans[n] = "OPINION"
  /\ bans' = [bans EXCEPT ![n] = "none"]
  /\ streaks' = [streaks EXCEPT ![n] = 0]
  /\ UNCHANGED <<signed, met, forgers, tally, forgeries, due, settled, view>>

-----------------------------------------------------------------------------
(* SLOW WRITERS: they decide on what they read earlier. The status guard makes such a commit   *)
(* equal to one on the newest snapshot, or nothing.                                            *)
TakeSnapshot(tx) ==
  /\ SlowNodes
  /\ view = NONE
  /\ tally[tx].status \notin {"CONFIRMED"}
  /\ view' = [tx |-> tx, snapshot |-> tally[tx], current |-> TRUE]
  /\ UNCHANGED <<signed, met, forgers, tally, bans, streaks, forgeries, due, settled>>

ViewIsCurrent == view.current \/ Flawed("guard-dropped")

SlowCommit ==
  /\ view # NONE
  /\ ViewIsCurrent
  /\ \E seen \in SeenBans :
       \E new \in NewVotes(view.snapshot, view.tx, seen) :
         \E doubles \in SUBSET Equivocators(view.snapshot, view.tx, new) :
           /\ new # {} \/ doubles # {}
           /\ Write(view.tx, view.snapshot, new, doubles, FALSE, FALSE, seen)
  /\ view' = NONE
  /\ UNCHANGED <<signed, met, forgers, forgeries, due>>

SlowClaim ==
  /\ view # NONE
  /\ ViewIsCurrent
  /\ \E v \in Values : ClaimOn(view.tx, view.snapshot, v)
  /\ view' = NONE
  /\ UNCHANGED <<signed, met, forgers, bans, streaks, forgeries, due>>

(* A guard failed: nothing is written, and it will be decided again. *)
Conflict ==
  /\ view # NONE
  /\ ~view.current
  /\ view' = NONE
  /\ UNCHANGED <<signed, met, forgers, tally, bans, streaks, forgeries, due, settled>>

-----------------------------------------------------------------------------
(* THE ENVIRONMENT                                                                         *)

MaySign(n) == IF n \in Byzantine \cup Undecided THEN Values ELSE {Agreed}

InTime(tx, votes) ==
  /\ ~due[tx]
  /\ \E v \in Values :
       Cardinality({n \in Honest : <<n, v>> \in votes /\ bans[n] = "none"}) >= Threshold

Sign(n, tx, v) ==
  /\ v \in MaySign(n)
  /\ <<n, v>> \notin signed[tx]
  /\ n \in Honest => \A b \in signed[tx] : b[1] # n
  /\ signed' = [signed EXCEPT ![tx] = @ \cup {<<n, v>>}]
  /\ met' = [met EXCEPT ![tx] = @ \/ InTime(tx, signed[tx] \cup {<<n, v>>})]
  /\ UNCHANGED <<forgers, tally, bans, streaks, forgeries, due, settled, view>>

(* t honest trustees have signed a value, and fewer of them than t are recorded. Also while the   *)
(* value has its t votes with an equivocator's help: that threshold may be lost again.            *)
QuorumWaits(tx) ==
  /\ tally[tx].status \in {"COLLECTING", "THRESHOLD_REACHED"}
  /\ \E v \in Values :
       /\ Cardinality({n \in Honest : <<n, v>> \in signed[tx] /\ bans[n] = "none"}) >= Threshold
       /\ Cardinality({n \in Honest : tally[tx].votes[n] = v}) < Threshold

DeadlinePasses(tx) ==
  /\ tally[tx].status # "IDLE"
  /\ ~due[tx]
  /\ Timely => ~QuorumWaits(tx)
  /\ due' = [due EXCEPT ![tx] = TRUE]
  /\ UNCHANGED <<signed, met, forgers, tally, bans, streaks, forgeries, settled, view>>

SettleElapses(tx) ==
  /\ tally[tx].status = "THRESHOLD_REACHED"
  /\ ~settled[tx] \/ Flawed("settle-restarts")
  /\ settled' = [settled EXCEPT ![tx] = ~@]
  /\ UNCHANGED <<signed, met, forgers, tally, bans, streaks, forgeries, due, view>>

-----------------------------------------------------------------------------
VotingInit ==
  /\ signed = [tx \in TxIds |-> {}]
  /\ met = [tx \in TxIds |-> FALSE]
  /\ forgers = {}
  /\ tally = [tx \in TxIds |-> EmptySnapshot]
  /\ bans = [n \in Trustees |-> IF n \in BannedBefore THEN "OPINION" ELSE "none"]
  /\ streaks = [n \in Trustees |-> 0]
  /\ forgeries = {}
  /\ due = [tx \in TxIds |-> FALSE]
  /\ settled = [tx \in TxIds |-> FALSE]
  /\ view = NONE

(* All but Confirm, which another module may tie to the chain. *)
VotingSteps ==
  \/ \E n \in Trustees, tx \in TxIds, v \in Values : Sign(n, tx, v)
  \/ \E tx \in TxIds : RecordVotes(tx)
  \/ \E tx \in TxIds : JudgeDeadline(tx)
  \/ \E tx \in TxIds, v \in Values : Claim(tx, v)
  \/ \E n \in Trustees, tx \in TxIds : Accuse(n, tx)
  \/ \E author \in Byzantine, named \in Trustees : RecordForgery(author, named)
  \/ \E n \in Trustees : LiftBan(n)
  \/ \E tx \in TxIds : TakeSnapshot(tx)
  \/ SlowCommit
  \/ SlowClaim
  \/ Conflict
  \/ \E tx \in TxIds : DeadlinePasses(tx)
  \/ \E tx \in TxIds : SettleElapses(tx)

(* Nothing is left to be done; any other state without a step is a deadlock. *)
VotingDone ==
  /\ \A tx \in TxIds : tally[tx].status \in {"IDLE", "CONFIRMED", "ABORTED_BYZANTINE"}
  /\ UNCHANGED votingVars

VotingNext == VotingSteps \/ (\E tx \in TxIds : Confirm(tx)) \/ VotingDone

(* Who has promised to act does, in the end: nodes record and judge, the submitter claims,   *)
(* clocks go on. Nobody has promised to vote.                                                *)
VotingFairness ==
  /\ \A tx \in TxIds : WF_votingVars(RecordVotes(tx))
  /\ \A tx \in TxIds : WF_votingVars(JudgeDeadline(tx))
  /\ \A tx \in TxIds : WF_votingVars(\E v \in Values : Claim(tx, v))
  /\ \A tx \in TxIds : WF_votingVars(Confirm(tx))
  /\ \A tx \in TxIds : WF_votingVars(DeadlinePasses(tx))
  /\ \A tx \in TxIds : WF_votingVars(SettleElapses(tx))
  /\ \A n \in Byzantine, tx \in TxIds : WF_votingVars(Accuse(n, tx))

VotingSpec == VotingInit /\ [][VotingNext]_votingVars /\ VotingFairness

-----------------------------------------------------------------------------
(* WHAT MUST ALWAYS HOLD. The names are those of Table 12 and of the invariants I1 to I11.   *)

TypeInvariant ==
  /\ \A tx \in TxIds : signed[tx] \subseteq Votes
  /\ \A tx \in TxIds :
       LET S == tally[tx] IN
       /\ S.status \in Statuses
       /\ \A n \in Trustees : S.votes[n] \in Values \cup {NONE}
       /\ \A v \in Values : S.counts[v] \in 0..Cardinality(Trustees)
       /\ S.value \in Values \cup {NONE}
       /\ S.unanimous \in BOOLEAN
       /\ S.excluded \subseteq Trustees
       /\ S.absent = NONE \/ S.absent \subseteq Trustees
       /\ S.violations \subseteq Trustees \X Crimes
       /\ S.decision \in Decisions \cup {NONE}
  /\ \A n \in Trustees : bans[n] \in {"none", "OPINION", "PROOF"}
  /\ \A n \in Trustees : streaks[n] \in 0..SilenceStreakMax
  /\ forgers \subseteq Byzantine
  /\ forgeries \subseteq Trustees
  /\ \A tx \in TxIds : met[tx] \in BOOLEAN /\ due[tx] \in BOOLEAN /\ settled[tx] \in BOOLEAN

(* I7. A counter is the number of distinct recorded votes. *)
CountsAreVotes ==
  \A tx \in TxIds, v \in Values :
    tally[tx].counts[v] = Cardinality({n \in Trustees : tally[tx].votes[n] = v})

(* Nothing is in the tally that its trustee did not sign. *)
OnlySignedVotes ==
  \A tx \in TxIds, n \in Trustees :
    tally[tx].votes[n] # NONE => <<n, tally[tx].votes[n]>> \in signed[tx]

(* I2, Table 12 "Safety Invariant": no submission without t recorded, identical votes. *)
SafetyInvariant ==
  \A tx \in TxIds, v \in Values :
    tally[tx].decision = <<"SUBMIT", v>> =>
      /\ tally[tx].status \in {"SUBMITTED", "CONFIRMED"}
      /\ tally[tx].value = v
      /\ Cardinality({n \in Trustees : tally[tx].votes[n] = v}) >= Threshold

(* Status, value and decision tell the same story; the decision is the word that counts. *)
StatusIsDecision ==
  \A tx \in TxIds :
    LET S == tally[tx] IN
    /\ S.status \in {"IDLE", "COLLECTING", "THRESHOLD_REACHED"} <=> S.decision = NONE
    /\ S.status = "ABORTED_BYZANTINE" <=> \E r \in AbortReasons : S.decision = <<"ABORT", r>>
    /\ S.status = "THRESHOLD_REACHED" => S.value # NONE
    /\ S.status \in {"IDLE", "COLLECTING", "ABORTED_BYZANTINE"} => S.value = NONE

(* Spec 3.1 type 2, both orders: where a value has t effective votes, whoever stands against it is convicted. *)
MinorityIsCaught ==
  \A tx \in TxIds :
    LET S == tally[tx]
        effective == {n \in Trustees : S.votes[n] # NONE /\ <<n, "DOUBLE_VOTING">> \notin S.violations}
        Reached(v) == Cardinality({n \in effective : S.votes[n] = v}) >= Threshold
    IN S.status \in {"COLLECTING", "THRESHOLD_REACHED", "SUBMITTED", "CONFIRMED"} =>
         \A v \in Values :
           Reached(v) /\ (S.value = NONE \/ S.value = v) =>
             \A n \in effective : S.votes[n] # v => <<n, "MINORITY_VOTE">> \in S.violations

(* I5. A ban has a recorded violation, and what the violation says is true. *)
NoBanWithoutEvidence ==
  /\ \A n \in Trustees :
       /\ bans[n] = "PROOF" =>
            n \in forgeries \/ \E tx \in TxIds : <<n, "DOUBLE_VOTING">> \in tally[tx].violations
       /\ bans[n] = "OPINION" /\ n \notin BannedBefore =>
            \E tx \in TxIds, crime \in {"MINORITY_VOTE", "SILENT_FAILURE"} :
              <<n, crime>> \in tally[tx].violations
  /\ forgeries \subseteq forgers
  /\ \A tx \in TxIds, n \in Trustees :
       LET S == tally[tx] IN
       /\ <<n, "DOUBLE_VOTING">> \in S.violations =>
            HasTwo(n, tx)
       /\ <<n, "MINORITY_VOTE">> \in S.violations =>
            /\ S.votes[n] # NONE
            /\ \E v \in Values \ {S.votes[n]} :
                 Cardinality({m \in Trustees : S.votes[m] = v}) >= Threshold
       /\ <<n, "SILENT_FAILURE">> \in S.violations => n \in S.absent

(* I6. *)
HonestIsNeverProofBanned == \A n \in Honest : bans[n] # "PROOF"

(* One step of the tally, seen from outside. *)
VotesAreWrittenOnce ==
  \A tx \in TxIds, n \in Trustees :
    tally[tx].votes[n] # NONE => tally'[tx].votes[n] = tally[tx].votes[n]

(* Table 12 "No Double Submission", I3: the first decision stands for ever, SUBMIT or ABORT. *)
NoDoubleSubmission ==
  \A tx \in TxIds :
    /\ tally[tx].decision # NONE => tally'[tx].decision = tally[tx].decision
    /\ tally[tx].status \in {"CONFIRMED", "ABORTED_BYZANTINE"} => tally'[tx].status = tally[tx].status
    /\ tally[tx].status = "SUBMITTED" => tally'[tx].status \in {"SUBMITTED", "CONFIRMED"}

IsClaimed(tx) == tally[tx].decision = NONE /\ tally'[tx].decision \in {<<"SUBMIT", v>> : v \in Values}

(* Table 12 "Safety Invariant", uniformity, and "Abort on Byzantine": under strict-abort what *)
(* is claimed has no vote against it and none of an equivocator.                              *)
AbortOnByzantine ==
  \A tx \in TxIds :
    IsClaimed(tx) /\ Policy = "strict-abort" =>
      \A n \in Trustees :
        tally[tx].votes[n] # NONE =>
          /\ <<"SUBMIT", tally[tx].votes[n]>> = tally'[tx].decision
          /\ <<n, "DOUBLE_VOTING">> \notin tally[tx].violations

(* An equivocator's vote does not make the quorum, under either policy. *)
ClaimHasCleanQuorum ==
  \A tx \in TxIds :
    IsClaimed(tx) =>
      Cardinality({n \in Trustees :
        /\ <<"SUBMIT", tally[tx].votes[n]>> = tally'[tx].decision
        /\ <<n, "DOUBLE_VOTING">> \notin tally[tx].violations}) >= Threshold

(* R5. *)
ClaimWaitsForDissent ==
  \A tx \in TxIds : IsClaimed(tx) => tally[tx].unanimous \/ settled[tx]

(* Bans are linearizable: no vote is recorded of a trustee that is banned at that moment. *)
BannedDoNotVote ==
  \A tx \in TxIds, n \in Trustees :
    bans[n] # "none" => tally'[tx].votes[n] = tally[tx].votes[n] \/ tally'[tx].votes[n] = NONE

(* R7. A PROOF ban has no way back. *)
ProofIsForever == \A n \in Trustees : bans[n] = "PROOF" => bans'[n] = "PROOF"

(* I5, as a step: violations never go. *)
EvidenceStays == \A tx \in TxIds : tally[tx].violations \subseteq tally'[tx].violations

VotesStay == [][VotesAreWrittenOnce]_votingVars
DecisionsStay == [][NoDoubleSubmission]_votingVars
ClaimsAreUniform == [][AbortOnByzantine]_votingVars
ClaimsHaveQuorum == [][ClaimHasCleanQuorum]_votingVars
ClaimsWait == [][ClaimWaitsForDissent]_votingVars
BansAreLinearizable == [][BannedDoNotVote]_votingVars
ProofStays == [][ProofIsForever]_votingVars
ViolationsStay == [][EvidenceStays]_votingVars

-----------------------------------------------------------------------------
(* WHAT MUST HAPPEN IN THE END                                                             *)

(* No transaction stays open: it is submitted or aborted. *)
EveryTransactionEnds ==
  \A tx \in TxIds : tally[tx].status # "IDLE" ~> tally[tx].status \in {"CONFIRMED", "ABORTED_BYZANTINE"}

(* Somebody voted, or showed two values, against that value. *)
Dissent(tx) == \E a \in signed[tx], b \in signed[tx] : a[2] # b[2]
HonestBanned == \E n \in Honest : bans[n] # "none"

(* Table 12 "Liveness": if t honest trustees vote the same value in time, it is submitted; under  *)
(* strict-abort unless somebody dissents. (Timely: what was signed in time is recorded in time.   *)
(* Without it this is false.) The left side of ~> has to stay true: README.md says why.           *)
Liveness ==
  \A tx \in TxIds :
    met[tx] ~>
      \/ tally[tx].status = "CONFIRMED"
      \/ Policy = "strict-abort" /\ Dissent(tx)
      \/ \E n \in Undecided : \E b \in signed[tx] : b[1] = n /\ b[2] # Agreed
      \/ HonestBanned

(* I4. Every conflicting pair ends in a PROOF ban. *)
ByzantineDetection ==
  \A n \in Byzantine : \A tx \in TxIds : HasTwo(n, tx) ~> bans[n] = "PROOF"
=============================================================================
