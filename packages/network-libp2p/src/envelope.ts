import type { GossipsubMessage, Message, SignedMessage } from "@chainsafe/libp2p-gossipsub";
import { assert, hash } from "@quorate/core";
import type { GossipEnvelope, GossipMessage } from "@quorate/ports";
import { peerIdFromCanonicalMultihash, toPeerId } from "./identity.ts";

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

/** A message as the validator gets it: StrictSign and the router's guard let no other through. */
export function messageOf({ msg, propagationSource }: GossipsubMessage): GossipMessage {
  const forwarder = toPeerId(propagationSource);
  assert(msg.type === "signed" && forwarder !== null, "a message without a signature");
  const envelope = envelopeOf(msg);
  const author = peerIdFromCanonicalMultihash(envelope.from);
  assert(author !== null, "an author that is not an Ed25519 peer");
  return { topic: envelope.topic, data: envelope.data, author, forwarder, envelope };
}
