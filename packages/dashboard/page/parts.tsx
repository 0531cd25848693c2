import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Tone, toneOf, words } from "./format.ts";
import type { Check } from "./types.ts";

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Status({ code }: { code: string }) {
  return <Badge tone={toneOf(code)}>{words(code)}</Badge>;
}

export function Tile(props: { label: string; value: ComponentChildren; note?: string; tone?: Tone }) {
  return (
    <div class={`tile ${props.tone ?? ""}`}>
      <dt>{props.label}</dt>
      <dd>{props.value}</dd>
      <dd class="note">{props.note ?? ""}</dd>
    </div>
  );
}

export function Section(props: {
  id: string;
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section aria-labelledby={`${props.id}-title`} id={props.id}>
      <header>
        <h2 id={`${props.id}-title`}>{props.title}</h2>
        <div class="aside">{props.aside}</div>
      </header>
      {props.children}
    </section>
  );
}

export function Bar({ share, label }: { share: number; label: string }) {
  const tone = share >= 0.9 ? "good" : share >= 0.6 ? "warn" : "bad";
  return (
    <span class="bar">
      <meter class={tone} min={0} max={1} value={share} aria-hidden="true" />
      <span>{label}</span>
    </span>
  );
}

export function Checks({ checks }: { checks: readonly Check[] }) {
  return (
    <ul class="checks">
      {checks.map(({ name, ok, detail }) => (
        <li key={name} class={ok ? "good" : "bad"}>
          <strong>{name}</strong> {detail}
        </li>
      ))}
    </ul>
  );
}

/** A modal that the browser itself keeps the focus in and closes on Escape. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
  }, []);
  const { onClose } = props;
  return (
    <dialog
      ref={element}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === element.current) onClose();
      }}
      aria-labelledby="dialog-title"
    >
      <div class="dialog">
        <header>
          <h2 id="dialog-title">{props.title}</h2>
          <button type="button" onClick={onClose} aria-label="Close">
            ✕
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts.map(([name, fact]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{fact}</dd>
        </div>
      ))}
    </dl>
  );
}
