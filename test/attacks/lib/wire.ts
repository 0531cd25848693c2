import { randomBytes } from "node:crypto";
import { envelopeSigningBytes, peerIdBytesOf } from "@quorate/core";
import { bytesField, numberField, readFields, readVarint, textField, varint } from "./protobuf.ts";

/** A gossip message as it goes over the wire, with every field in the attacker's hand. */
export interface WireMessage {
  readonly from: Uint8Array;
  readonly data: Uint8Array;
  readonly seqno: Uint8Array;
  readonly topic: string;
  readonly signature: Uint8Array;
}

/** Whoever can sign. */
export interface Signer {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** 8 random bytes: an honest author counts up, and nobody checks that. */
export function randomSeqno(): Uint8Array {
  return randomBytes(8);
}

/** A well-formed gossip message: whatever the data is, its author is who signed it. */
export function envelop(
  author: Signer,
  topic: string,
  data: Uint8Array,
  seqno: Uint8Array = randomSeqno(),
): WireMessage {
  const from = peerIdBytesOf(author.publicKey);
  const signature = author.sign(envelopeSigningBytes({ from, data, sequenceNumber: seqno, topic }));
  return { from, data, seqno, topic, signature };
}

/** One RPC that carries messages. */
export function messagesRpc(messages: readonly WireMessage[]): Uint8Array {
  return Buffer.concat(
    messages.map((m) =>
      bytesField(
        2,
        Buffer.concat([
          bytesField(1, m.from),
          bytesField(2, m.data),
          bytesField(3, m.seqno),
          textField(4, m.topic),
          bytesField(5, m.signature),
        ]),
      ),
    ),
  );
}

/** One RPC that subscribes to topics. */
export function subscribeRpc(topics: readonly string[]): Uint8Array {
  return Buffer.concat(
    topics.map((topic) => bytesField(1, Buffer.concat([numberField(1, 1), textField(2, topic)]))),
  );
}

/** An RPC behind its length, as a stream carries it. */
export function framed(rpc: Uint8Array): Uint8Array {
  return Buffer.concat([varint(rpc.length), rpc]);
}

/** Takes a stream apart into RPCs, of which it keeps the messages. */
export class RpcReader {
  #rest: Uint8Array = new Uint8Array();
  /** Whether anything at all has been said. */
  heard = false;

  /** The messages that a piece of the stream completes. */
  push(chunk: Uint8Array): readonly WireMessage[] {
    this.heard = true;
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const messages: WireMessage[] = [];
    for (;;) {
      const length = readVarint(this.#rest, 0);
      if (length === null || length.end + length.value > this.#rest.length) return messages;
      const rpc = this.#rest.slice(length.end, length.end + length.value);
      this.#rest = this.#rest.slice(length.end + length.value);
      messages.push(...messagesOf(rpc));
    }
  }
}

function messagesOf(rpc: Uint8Array): readonly WireMessage[] {
  return (readFields(rpc) ?? []).flatMap((field) => {
    if (field.number !== 2) return [];
    const parts = new Map((readFields(field.value) ?? []).map((p) => [p.number, p.value]));
    const part = (number: number): Uint8Array => parts.get(number) ?? new Uint8Array();
    return [
      {
        from: part(1),
        data: part(2),
        seqno: part(3),
        topic: Buffer.from(part(4)).toString("utf8"),
        signature: part(5),
      },
    ];
  });
}

/** A message as JSON. */
export type WireMessageJson = { readonly [K in keyof WireMessage]: string };

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "base64"));

export function toJson(m: WireMessage): WireMessageJson {
  return {
    from: base64(m.from),
    data: base64(m.data),
    seqno: base64(m.seqno),
    topic: m.topic,
    signature: base64(m.signature),
  };
}

export function fromJson(m: WireMessageJson): WireMessage {
  return {
    from: bytesOf(m.from),
    data: bytesOf(m.data),
    seqno: bytesOf(m.seqno),
    topic: m.topic,
    signature: bytesOf(m.signature),
  };
}
