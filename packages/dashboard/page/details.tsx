import { useEffect, useState } from "preact/hooks";
import { ApiError, read } from "./api.ts";
import { clockTime, short, words } from "./format.ts";
import { Badge, Dialog, Facts, Status } from "./parts.tsx";
import type { Evidence, Submission, Transaction } from "./types.ts";

/** What a path answers, read again when `version` changes. */
function useAnswer<T>(path: string, version: unknown): { answer: T | null; problem: ApiError | null } {
  const [answer, setAnswer] = useState<T | null>(null);
  const [problem, setProblem] = useState<ApiError | null>(null);
  useEffect(() => {
    let isOver = false;
    read<T>(path).then(
      (found) => {
        if (isOver) return;
        setAnswer(found);
        setProblem(null);
      },
      (error: unknown) => {
        if (error instanceof ApiError && !isOver) setProblem(error);
      },
    );
    return () => {
      isOver = true;
    };
  }, [path, version]);
  return { answer, problem };
}

interface Moment {
  readonly at: string;
  readonly what: string;
}

export function TransactionDetail(props: {
  txId: string;
  /** As the feed has it; what it lacks is asked for. */
  known: Transaction | undefined;
  explorerUrl: string | null;
  onClose: () => void;
  onEvidence: (id: string) => void;
}) {
  const { txId, known } = props;
  const path = encodeURIComponent(txId);
  const own = useAnswer<Transaction>(`/v1/transactions/${path}`, known);
  const evidence = useAnswer<{ evidence: Evidence[] }>(`/v1/evidence?tx=${path}`, known?.status);
  const submission = useAnswer<Submission>(`/v1/submitter/submissions/${path}`, known?.status);
  const tx = own.answer ?? known;
  const way = submission.answer;
  return (
    <Dialog title={txId} onClose={props.onClose}>
      {tx === undefined ? (
        <p>{own.problem?.message ?? "Asking…"}</p>
      ) : (
        <>
          <Facts
            facts={[
              ["Status", <Status code={tx.status} />],
              ["Value", tx.value ?? "–"],
              ["Reason", tx.reason ?? "–"],
              ["Epoch", `${tx.epoch ?? "–"}`],
              ["On chain", <OnChain tx={tx} way={way} explorerUrl={props.explorerUrl} />],
              ["Absent", tx.absent?.join(", ") ?? "–"],
            ]}
          />
          <h3>Votes</h3>
          <table>
            <tbody>
              {(tx.votes ?? []).map((vote) => (
                <tr key={vote.nodeId}>
                  <th scope="row">{vote.nodeId}</th>
                  <td class={`number ${vote.value !== (tx.value ?? vote.value) ? "bad" : ""}`}>
                    {vote.value}
                  </td>
                  <td>{clockTime(vote.issuedAt)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {(evidence.answer?.evidence ?? []).length > 0 && (
            <>
              <h3>Evidence</h3>
              <ul class="plain">
                {evidence.answer?.evidence.map((found) => (
                  <li key={found.id}>
                    <Badge tone={found.grade === "PROOF" ? "bad" : "warn"}>{words(found.type)}</Badge>{" "}
                    by {found.nodeId ?? short(found.peerId)}{" "}
                    <button type="button" onClick={() => props.onEvidence(found.id)}>
                      Show
                    </button>
                  </li>
                ))}
              </ul>
            </>
          )}
          <h3>Timeline</h3>
          <ol class="timeline">
            {timelineOf(tx, evidence.answer?.evidence ?? [], way).map(({ at, what }, index) => (
              <li key={index}>
                <time dateTime={at}>{clockTime(at)}</time> {what}
              </li>
            ))}
          </ol>
        </>
      )}
    </Dialog>
  );
}

function OnChain(props: { tx: Transaction; way: Submission | null; explorerUrl: string | null }) {
  const hash = props.tx.chain?.txHash ?? props.way?.txHash ?? null;
  const block = props.tx.chain?.blockNumber ?? props.way?.blockNumber ?? null;
  if (hash === null) return <>{props.way === null ? "–" : words(props.way.state)}</>;
  const code = <code title={hash}>{short(hash, 10)}</code>;
  return (
    <>
      {props.explorerUrl === null ? (
        code
      ) : (
        <a href={`${props.explorerUrl}/tx/${hash}`} target="_blank" rel="noreferrer noopener">
          {code}
        </a>
      )}
      {block === null ? "" : ` in block ${block}`}
    </>
  );
}

function moment(at: string | null | undefined, what: string): readonly Moment[] {
  return typeof at === "string" ? [{ at, what }] : [];
}

function timelineOf(
  tx: Transaction,
  evidence: readonly Evidence[],
  way: Submission | null,
): readonly Moment[] {
  const moments: Moment[] = [
    ...moment(tx.openedAt, "opened"),
    ...(tx.votes ?? []).map((v) => ({ at: v.issuedAt, what: `${v.nodeId} voted ${v.value}` })),
    ...evidence.map((e) => ({
      at: e.detectedAt,
      what: `${words(e.type)} by ${e.nodeId ?? short(e.peerId)} recorded`,
    })),
    ...(way === null ? [] : [{ at: way.queuedAt, what: "queued for the chain" }]),
    ...(way?.history ?? []).map((h) => ({ at: h.at, what: `nonce ${h.nonce}: ${words(h.to)}` })),
    ...moment(way?.confirmedAt, "confirmed"),
  ];
  return moments.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

export function EvidenceDetail({ id, onClose }: { id: string; onClose: () => void }) {
  const { answer, problem } = useAnswer<Evidence>(`/v1/evidence/${pathOf(id)}`, id);
  return (
    <Dialog title="Evidence" onClose={onClose}>
      {answer === null ? (
        <p>{problem?.message ?? "Asking…"}</p>
      ) : (
        <>
          {typeof answer.finding === "string" ? (
            <p class="finding">{answer.finding}</p>
          ) : (
            <p class="bad">It proves nothing: {answer.problem ?? "it can't be verified"}</p>
          )}
          <Facts
            facts={[
              ["Who", answer.nodeId ?? "–"],
              ["Peer", <code>{answer.peerId}</code>],
              ["What", words(answer.type)],
              ["Grade", words(answer.grade)],
              ["Transaction", answer.txId],
              ["Detected", clockTime(answer.detectedAt)],
              ["Rule", answer.rule ?? "–"],
            ]}
          />
          <details>
            <summary>As stored</summary>
            <pre>{JSON.stringify(answer.evidence, null, 2)}</pre>
          </details>
          <p class="note">
            To check it without this node: <code>quorate evidence export {id}</code>, then{" "}
            <code>quorate evidence verify</code>.
          </p>
        </>
      )}
    </Dialog>
  );
}

function pathOf(id: string): string {
  return id.split("/").map(encodeURIComponent).join("/");
}
