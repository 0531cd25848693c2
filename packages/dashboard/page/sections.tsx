import { isClockOff } from "./attention.ts";
import { ago, clockTime, short, words } from "./format.ts";
import { Badge, Bar, Checks, Facts, Section, Status } from "./parts.tsx";
import type { State } from "./state.ts";
import type { Ban, Submission, SubmitterView, Transaction, Trustee } from "./types.ts";

export function Trustees({ state }: { state: State }) {
  const { status, submitter, nowMs } = state;
  if (status === null) return null;
  const scores = new Map(submitter?.reputations.map((r) => [r.peerId, r]));
  return (
    <Section id="trustees" title="Trustees" aside={`${status.threshold} of ${status.totalNodes} must agree`}>
      <table class="cards">
        <thead>
          <tr>
            {["Trustee", "State", "Reputation", "Participation", "Version", "Up since", "Last vote", "Clock"].map(
              (name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {status.trustees.map((trustee) => {
            const { votes, transactions } = trustee.participation;
            const score = scores.get(trustee.peerId)?.score ?? (trustee.banned ? 0 : null);
            return (
              <tr key={trustee.peerId} data-trustee={trustee.nodeId}>
                <th scope="row" title={trustee.peerId}>
                  {trustee.nodeId}
                  {trustee.nodeId === status.nodeId && <small> this node</small>}
                </th>
                <td data-label="State">
                  <TrusteeState trustee={trustee} />
                </td>
                <td data-label="Reputation">
                  {score === null ? (
                    <span class="note">
                      {submitter === null ? "not known here" : "no history yet"}
                    </span>
                  ) : (
                    <Bar share={score} label={score.toFixed(2)} />
                  )}
                </td>
                <td data-label="Participation">
                  {transactions === 0 ? (
                    "–"
                  ) : (
                    <Bar share={votes / transactions} label={`${votes}/${transactions}`} />
                  )}
                </td>
                <td data-label="Version">{trustee.version ?? "–"}</td>
                <td data-label="Up since">{clockTime(trustee.upSince)}</td>
                <td data-label="Last vote">{ago(trustee.lastVoteAt, nowMs)}</td>
                <td data-label="Clock">
                  {trustee.nodeId === status.nodeId ? "–" : <ClockOffset offsetMs={trustee.clockOffsetMs} />}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Section>
  );
}

/** Way and batching are in it, so a little behind is no fault of a clock. */
function ClockOffset({ offsetMs }: { offsetMs: number | null }) {
  if (offsetMs === null) return <span class="note">not heard yet</span>;
  const seconds = `${Math.abs(offsetMs / 1_000).toFixed(2)} s`;
  const text = Math.abs(offsetMs) < 10 ? "same" : `${seconds} ${offsetMs < 0 ? "ahead" : "behind"}`;
  return isClockOff(offsetMs) ? <Badge tone="warn">{text}</Badge> : <span>{text}</span>;
}

function TrusteeState({ trustee }: { trustee: Trustee }) {
  if (trustee.banned) return <Badge tone="bad">banned: {words(trustee.banReason ?? "")}</Badge>;
  return trustee.online ? <Badge tone="good">online</Badge> : <Badge tone="warn">absent</Badge>;
}

export function Transactions(props: {
  transactions: readonly Transaction[];
  totalNodes: number;
  filter: string;
  selected: number;
  feed: State["feed"];
  onFilter: (text: string) => void;
  onOpen: (txId: string) => void;
}) {
  const { transactions, filter, selected, onOpen } = props;
  return (
    <Section
      id="transactions"
      title="Transactions"
      aside={
        <input
          id="filter"
          type="search"
          placeholder="Filter ( / )"
          aria-label="Filter by id, status or value"
          value={filter}
          onInput={(event) => props.onFilter(event.currentTarget.value)}
        />
      }
    >
      {transactions.length === 0 ? (
        <p class="empty">{filter === "" ? "Nobody has voted yet." : "None of the newest is like that."}</p>
      ) : (
        <table class="feed">
          <thead>
            <tr>
              <th scope="col">Transaction</th>
              <th scope="col">Status</th>
              <th scope="col">Value</th>
              <th scope="col">Votes</th>
              <th scope="col">Opened</th>
            </tr>
          </thead>
          <tbody>
            {transactions.map((tx, index) => (
              <tr
                key={tx.txId}
                class={index === selected ? "selected" : ""}
                data-tx={tx.txId}
                onClick={() => onOpen(tx.txId)}
              >
                <td>
                  <button type="button" class="link" title={tx.txId}>
                    {short(tx.txId, 14)}
                  </button>
                </td>
                <td>
                  <Status code={tx.status} />
                  {tx.violations !== undefined && tx.violations.length > 0 && (
                    <small class="bad"> {words(tx.violations[0]?.type ?? "")}</small>
                  )}
                </td>
                <td class="number">{tx.value ?? "–"}</td>
                <td class="number">
                  {tx.votes?.length ?? "?"}/{props.totalNodes}
                </td>
                <td>{clockTime(tx.openedAt)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Section>
  );
}

export function Bans({ bans, onEvidence }: { bans: readonly Ban[]; onEvidence: (id: string) => void }) {
  return (
    <Section id="bans" title="Bans" aside={bans.length === 0 ? "" : `${bans.length}`}>
      {bans.length === 0 ? (
        <p class="empty">Nobody is banned.</p>
      ) : (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Who</th>
              <th scope="col">Why</th>
              <th scope="col">Grade</th>
              <th scope="col">When</th>
              <th scope="col">Evidence</th>
            </tr>
          </thead>
          <tbody>
            {bans.map((ban) => (
              <tr key={ban.peerId} data-ban={ban.nodeId ?? ban.peerId}>
                <th scope="row" title={ban.peerId}>
                  {ban.nodeId ?? short(ban.peerId)}
                </th>
                <td data-label="Why">{words(ban.reason)}</td>
                <td data-label="Grade">
                  <Badge tone={ban.grade === "PROOF" ? "bad" : "warn"}>{words(ban.grade)}</Badge>
                </td>
                <td data-label="When">{clockTime(ban.bannedAt)}</td>
                <td data-label="Evidence">
                  {typeof ban.evidenceId === "string" ? (
                    <button type="button" onClick={() => onEvidence(ban.evidenceId ?? "")}>
                      Show
                    </button>
                  ) : (
                    "–"
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Section>
  );
}

const ORDER = ["QUEUED", "ASSIGNED", "INCLUDED", "FINALIZED", "ABORTED", "QUARANTINED"];

export function Submitter({ view }: { view: SubmitterView }) {
  const { status, sender, problem } = view;
  if (status === null)
    return (
      <Section id="submitter" title="Submitter and chain">
        <p class="bad" role="alert">
          {problem ?? "The submitter does not answer."}
        </p>
      </Section>
    );
  const chain = sender?.chain;
  return (
    <Section
      id="submitter"
      title="Submitter and chain"
      aside={<Badge tone={status.leading ? "good" : "warn"}>{status.leading ? "leading" : "standby"}</Badge>}
    >
      {sender !== null && sender.frozen !== null && (
        <p class="bad" role="alert">
          Frozen since {clockTime(sender.frozen.since)}: {sender.frozen.reason}
        </p>
      )}
      {chain !== undefined && chain.problem !== null && (
        <p class="bad" role="alert">
          The chain: {chain.problem}
        </p>
      )}
      <ol class="states">
        {ORDER.map((state) => (
          <li key={state} class={state === "QUARANTINED" && (status.counts[state] ?? 0) > 0 ? "bad" : ""}>
            <strong>{status.counts[state] ?? 0}</strong> {words(state)}
          </li>
        ))}
      </ol>
      <Facts
        facts={[
          ["Account", <code title={status.address}>{short(status.address, 8)}</code>],
          ["Chain", `${status.chainId}`],
          ["Next nonce", sender?.nextNonce ?? "–"],
          ["Chain's nonce", `${chain?.latestNonce ?? "–"} (pending ${chain?.pendingNonce ?? "–"})`],
          ["Live nonces", `${sender?.liveNonces.length ?? "–"}`],
          ["Gaps", sender === null || sender.gaps.length === 0 ? "none" : sender.gaps.join(", ")],
          ["Final block", chain?.finalizedBlock ?? "–"],
          ["History at", `revision ${status.projectorRevision ?? "–"}`],
        ]}
      />
      <Checks checks={status.checks} />
    </Section>
  );
}

/** On the submitter's own page, where there is no feed of transactions. */
export function Submissions({ submissions, total }: { submissions: readonly Submission[]; total: number }) {
  const aside = total > submissions.length ? `the ${submissions.length} oldest of ${total}; quorate submissions list has all` : "";
  return (
    <Section id="submissions" title="Submissions" aside={aside}>
      {submissions.length === 0 ? (
        <p class="empty">Nothing was decided yet.</p>
      ) : (
        <table class="feed">
          <thead>
            <tr>
              <th scope="col">Transaction</th>
              <th scope="col">State</th>
              <th scope="col">Value</th>
              <th scope="col">Nonce</th>
              <th scope="col">Queued</th>
            </tr>
          </thead>
          <tbody>
            {submissions.map((one) => (
              <tr key={one.txId}>
                <td title={one.txId}>{short(one.txId, 14)}</td>
                <td>
                  <Status code={one.state} /> <small>{one.reason ?? ""}</small>
                </td>
                <td class="number">{one.value}</td>
                <td class="number">{one.nonce ?? "–"}</td>
                <td>{clockTime(one.queuedAt)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Section>
  );
}
