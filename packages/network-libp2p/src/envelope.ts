import type { Message, SignedMessage } from "@chainsafe/libp2p-gossipsub";
import { hash } from "@quorate/core";
import type { GossipEnvelope } from "@quorate/ports";

/** A message's sequence number as it was on the wire: 8 bytes, big-endian. */
export function sequenceNumberBytes(sequenceNumber: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, sequenceNumber);
  return bytes;
}

/**
 * The gossip message id: BLAKE3(data ‖ sequence number), 32 bytes.
 * @see spec §4.2
 */
export function messageId(message: Message): Uint8Array {
  // StrictSign refuses unsigned messages before their id is asked for.
  if (message.type === "unsigned") return hash(message.data);
  return hash(message.data, sequenceNumberBytes(message.sequenceNumber));
}

/**
 * The outer-signed fields, copied out of the network buffers: what is kept as evidence
 * must neither change nor keep a whole read buffer alive.
 */
export function envelopeOf(message: SignedMessage): GossipEnvelope {
  return {
    from: Uint8Array.from(message.from.toMultihash().bytes),
    data: Uint8Array.from(message.data),
    sequenceNumber: sequenceNumberBytes(message.sequenceNumber),
    topic: message.topic,
    signature: Uint8Array.from(message.signature),
  };
}
