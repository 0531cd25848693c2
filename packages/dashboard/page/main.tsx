import { render } from "preact";
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { type ApiError, token } from "./api.ts";
import { conditionsOf } from "./attention.ts";
import { Chart } from "./chart.tsx";
import { EvidenceDetail, TransactionDetail } from "./details.tsx";
import { Badge, Dialog, Section, Tile } from "./parts.tsx";
import { Bans, Submissions, Submitter, Transactions, Trustees } from "./sections.tsx";
import { type State, useCluster } from "./state.ts";
import "./page.css";

const RATE_LINES = [
  { label: "votes/s", color: "busy" },
  { label: "decided/s", color: "good" },
] as const;
const OPEN_LINES = [
  { label: "awaiting votes", color: "busy" },
  { label: "on the way to the chain", color: "warn" },
] as const;
const THEMES = ["auto", "light", "dark"] as const;
const THEME_KEY = "quorate-theme";
const KEYS = [
  ["j, k", "next and previous transaction"],
  ["Enter", "show it"],
  ["Esc", "close"],
  ["/", "filter"],
  ["t", "light, dark or the system's theme"],
  ["?", "these keys"],
] as const;

type Open = { readonly kind: "tx" | "evidence"; readonly id: string } | { readonly kind: "keys" };

function Page() {
  const { state, again } = useCluster();
  const [filter, setFilter] = useState("");
  const [selected, setSelected] = useState(-1);
  const [open, setOpen] = useState<Open | null>(null);
  const [theme, nextTheme] = useTheme();
  const shown = useMemo(() => {
    const wanted = filter.trim().toLowerCase();
    const texts = (tx: State["transactions"][number]): string =>
      `${tx.txId} ${tx.status} ${tx.value ?? ""}`.toLowerCase();
    return wanted === "" ? state.transactions : state.transactions.filter((tx) => texts(tx).includes(wanted));
  }, [filter, state.transactions]);

  // At once, not after the next frame: a key that comes right after a dialog closes is meant for the page.
  useLayoutEffect(() => {
    // The focus goes along, so that Enter opens it and the row scrolls into sight.
    const select = (wanted: number): void => {
      const rows = document.querySelectorAll<HTMLElement>("[data-tx] button");
      const index = Math.max(0, Math.min(rows.length - 1, wanted));
      rows[index]?.focus();
      setSelected(index);
    };
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || open !== null) return;
      const typing = event.target instanceof HTMLInputElement;
      if (typing) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      if (event.key === "j") select(selected + 1);
      else if (event.key === "k") select(selected - 1);
      else if (event.key === "/") {
        event.preventDefault();
        document.getElementById("filter")?.focus();
      } else if (event.key === "t") nextTheme();
      else if (event.key === "?") setOpen({ kind: "keys" });
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [shown, selected, open, nextTheme]);

  const { status, problem, submitter, samples } = state;
  const needsToken = problem !== null && (problem.status === 401 || problem.status === 403);
  const close = (): void => setOpen(null);
  const times = useMemo(() => samples.map((s) => s.atSeconds), [samples]);
  const rates = useMemo(
    () => [times, samples.map((s) => s.votesPerSecond), samples.map((s) => s.decidedPerSecond)],
    [times],
  );
  const opens = useMemo(
    () => [times, samples.map((s) => s.open), samples.map((s) => s.toChain)],
    [times],
  );
  return (
    <>
      <Heading state={state} theme={theme} onTheme={nextTheme} onKeys={() => setOpen({ kind: "keys" })} />
      <main>
        {needsToken ? <TokenForm problem={problem} onToken={again} /> : <Banner state={state} />}
        <Attention state={state} />
        {status !== null && <Tiles state={state} />}
        <Trustees state={state} />
        {status !== null && (
          <div class="columns">
            <div>
              <Transactions
                transactions={shown.slice(0, 50)}
                totalNodes={status.totalNodes}
                filter={filter}
                selected={selected}
                feed={state.feed}
                onFilter={setFilter}
                onOpen={(id) => setOpen({ kind: "tx", id })}
              />
            </div>
            <div>
              <Bans bans={state.bans} onEvidence={(id) => setOpen({ kind: "evidence", id })} />
              <Section id="charts" title="Last ten minutes" aside="since this page was opened">
                <Chart title="Votes and decisions a second" lines={RATE_LINES} data={rates} theme={theme} />
                <Chart title="Transactions under way" lines={OPEN_LINES} data={opens} theme={theme} />
              </Section>
              {submitter !== null && <Submitter view={submitter} />}
            </div>
          </div>
        )}
        {state.kind === "submitter" && submitter !== null && (
          <>
            <Submitter view={submitter} />
            <Submissions
              submissions={submitter.submissions}
              total={Object.values(submitter.status?.counts ?? {}).reduce((sum, n) => sum + n, 0)}
            />
          </>
        )}
      </main>
      {open?.kind === "tx" && (
        <TransactionDetail
          key={open.id}
          txId={open.id}
          known={state.transactions.find(({ txId }) => txId === open.id)}
          explorerUrl={submitter?.explorerUrl ?? null}
          onClose={close}
          onEvidence={(id) => setOpen({ kind: "evidence", id })}
        />
      )}
      {open?.kind === "evidence" && <EvidenceDetail key={open.id} id={open.id} onClose={close} />}
      {open?.kind === "keys" && (
        <Dialog title="Keys" onClose={close}>
          <dl class="facts">
            {KEYS.map(([key, what]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </>
  );
}

function Heading(props: { state: State; theme: string; onTheme: () => void; onKeys: () => void }) {
  const { status, submitter, feed, kind } = props.state;
  const clusterId = status?.clusterId ?? submitter?.status?.clusterId ?? "";
  useEffect(() => {
    document.title = clusterId === "" ? "Quorate" : `${clusterId} · Quorate`;
  }, [clusterId]);
  const what =
    status !== null
      ? `${status.nodeId} · epoch ${status.epoch} · version ${status.version}`
      : kind === "submitter"
        ? `submitter · version ${submitter?.status?.version ?? "?"}`
        : "";
  return (
    <header class="top">
      <h1>
        Quorate <span>{clusterId}</span>
      </h1>
      <p>{what}</p>
      <div class="aside">
        <Badge tone={feed === "live" ? "good" : feed === "connecting" ? "quiet" : "bad"}>
          {feed === "live" ? "live" : feed === "connecting" ? "connecting" : "not connected"}
        </Badge>
        {token.get() !== null && (
          <button
            type="button"
            onClick={() => {
              token.forget();
              window.location.reload();
            }}
          >
            Forget token
          </button>
        )}
        <button type="button" onClick={props.onTheme} title="Theme (t)">
          {props.theme}
        </button>
        <button type="button" onClick={props.onKeys} aria-label="Keys" title="Keys (?)">
          ?
        </button>
      </div>
    </header>
  );
}

/** Why no work may be sent here. */
function Banner({ state }: { state: State }) {
  const { status, problem, kind } = state;
  if (problem !== null)
    return (
      <div class="banner" role="alert">
        <strong>No answer</strong>
        <p>
          {problem.code === "UNREACHABLE"
            ? `This ${kind === "submitter" ? "submitter" : "node"} does not answer. What is shown is what it last said.`
            : problem.message}
        </p>
      </div>
    );
  if (status === null || status.ready) return null;
  return (
    <div class="banner" role="alert" id="not-ready">
      <strong>{status.nodeId} is not ready</strong>
      <ul>
        {status.checks
          .filter(({ ok }) => !ok)
          .map(({ name, detail }) => (
            <li key={name}>
              <b>{name}</b>: {detail}
            </li>
          ))}
      </ul>
    </div>
  );
}

/** What an alert would ring for, without Prometheus and at once. */
function Attention({ state }: { state: State }) {
  const conditions = conditionsOf(state);
  if (conditions.length === 0) return null;
  return (
    <Section id="attention" title="Needs attention" aside="as far as this page sees; alerts know more">
      <ul class="conditions">
        {conditions.map(({ alert, tone, text }) => (
          <li key={`${alert} ${text}`}>
            <Badge tone={tone}>{alert}</Badge> {text}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Tiles({ state }: { state: State }) {
  const { status, submitter, bans } = state;
  if (status === null) return null;
  const fit = status.trustees.filter((t) => t.online && !t.banned).length;
  const spare = fit - status.threshold;
  const counts = submitter?.status?.counts ?? {};
  const quarantined = counts["QUARANTINED"] ?? 0;
  return (
    <dl class="tiles">
      <Tile
        label="Trustees that can vote"
        value={`${fit} of ${status.totalNodes}`}
        note={spare < 0 ? `${-spare} too few for a decision` : `${status.threshold} needed, ${spare} to spare`}
        tone={spare < 0 ? "bad" : spare === 0 ? "warn" : "good"}
      />
      <Tile label="Awaiting a vote or their deadline" value={status.openTransactions} note={`votes not recorded yet: ${status.pendingVotes}`} />
      <Tile label="Bans" value={bans.length} tone={bans.length > 0 ? "bad" : "good"} />
      <Tile
        label="On chain"
        value={submitter === null ? "–" : (counts["FINALIZED"] ?? 0)}
        note={
          submitter === null
            ? "no submitter is configured here"
            : quarantined > 0
              ? `${quarantined} quarantined`
              : `${(counts["QUEUED"] ?? 0) + (counts["ASSIGNED"] ?? 0) + (counts["INCLUDED"] ?? 0)} on the way`
        }
        tone={quarantined > 0 ? "bad" : "quiet"}
      />
    </dl>
  );
}

function TokenForm({ problem, onToken }: { problem: ApiError; onToken: () => void }) {
  const [text, setText] = useState("");
  if (problem.code !== "TOKEN_MISSING" && problem.code !== "TOKEN_UNKNOWN")
    return (
      <div class="banner" role="alert">
        <strong>Not from here</strong>
        <p>{problem.message}</p>
      </div>
    );
  return (
    <form
      class="token"
      onSubmit={(event) => {
        event.preventDefault();
        token.set(text.trim());
        onToken();
      }}
    >
      <h2>Token</h2>
      <p>{token.get() === null ? "This page needs a token that may read." : problem.message}</p>
      <label>
        Token{" "}
        <input
          type="password"
          autocomplete="off"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Use it in this tab</button>
      <p class="note">
        Make one with <code>quorate token create --name you --role read</code>.
      </p>
    </form>
  );
}

function useTheme(): readonly [string, () => void] {
  const [theme, setTheme] = useState(() => localStorage.getItem(THEME_KEY) ?? "auto");
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset["theme"] = theme;
  const next = (): void => {
    const following = THEMES[(THEMES.findIndex((t) => t === theme) + 1) % THEMES.length] ?? "auto";
    localStorage.setItem(THEME_KEY, following);
    setTheme(following);
  };
  return [theme, next];
}

const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
