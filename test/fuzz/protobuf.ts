import { bytesField, numberField } from "../attacks/lib/protobuf.ts";

/** A published message as GossipSub writes it; what is null is left out. */
export interface RawMessage {
  readonly from: Uint8Array | null;
  readonly data: Uint8Array | null;
  readonly sequenceNumber: Uint8Array | null;
  readonly topic: string;
  readonly signature: Uint8Array | null;
  readonly key: Uint8Array | null;
}

export function writeMessage(message: RawMessage): Uint8Array {
  const { from, data, sequenceNumber, topic, signature, key } = message;
  const fields = [from, data, sequenceNumber, Buffer.from(topic), signature, key];
  return Buffer.concat(fields.flatMap((v, i) => (v === null ? [] : [bytesField(i + 1, v)])));
}

export interface RawRpc {
  readonly messages: readonly Uint8Array[];
  /** Topics that are subscribed to, or not any more. */
  readonly subscriptions?: readonly string[];
  /** A whole control message. */
  readonly control?: Uint8Array;
}

export function writeRpc({ messages, subscriptions = [], control }: RawRpc): Uint8Array {
  return Buffer.concat([
    ...subscriptions.map((topic, i) =>
      bytesField(1, Buffer.concat([numberField(1, i % 2), bytesField(2, Buffer.from(topic))])),
    ),
    ...messages.map((message) => bytesField(2, message)),
    ...(control === undefined ? [] : [bytesField(3, control)]),
  ]);
}

/** Offers, requests, grafts and prunes of so many ids each. */
export function writeControl(topic: string, ids: readonly Uint8Array[]): Uint8Array {
  const text = bytesField(1, Buffer.from(topic));
  return Buffer.concat([
    bytesField(1, Buffer.concat([text, ...ids.map((id) => bytesField(2, id))])),
    bytesField(2, Buffer.concat(ids.map((id) => bytesField(1, id)))),
    bytesField(3, text),
    bytesField(4, Buffer.concat([text, numberField(3, Number.MAX_SAFE_INTEGER)])),
    bytesField(5, Buffer.concat(ids.map((id) => bytesField(1, id)))),
  ]);
}
