/** As much of protobuf as GossipSub's RPC and the relay's messages need, by hand: an attacker must be able to get it wrong. */

/** A varint. @param value a whole number from 0 up */
export function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
  return Uint8Array.from(out);
}

/** A length-delimited field. */
export function bytesField(number: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
}

/** A varint field. */
export function numberField(number: number, value: number): Uint8Array {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

export function textField(number: number, value: string): Uint8Array {
  return bytesField(number, Buffer.from(value, "utf8"));
}

/** The length-delimited fields of a message, in order; others are skipped. Null when it is none. */
export function readFields(
  message: Uint8Array,
): readonly { readonly number: number; readonly value: Uint8Array }[] | null {
  const fields: { number: number; value: Uint8Array }[] = [];
  let at = 0;
  while (at < message.length) {
    const tag = readVarint(message, at);
    if (tag === null) return null;
    const wireType = tag.value % 8;
    const next = readVarint(message, tag.end);
    if (next === null || (wireType !== 0 && wireType !== 2)) return null;
    at = next.end;
    if (wireType === 0) continue;
    if (at + next.value > message.length) return null;
    fields.push({
      number: Math.floor(tag.value / 8),
      value: message.slice(at, at + next.value),
    });
    at += next.value;
  }
  return fields;
}

/** The varint at a place and where it ends; null when it is cut short. */
export function readVarint(
  bytes: Uint8Array,
  start: number,
): { readonly value: number; readonly end: number } | null {
  let value = 0;
  let factor = 1;
  for (let at = start; at < Math.min(bytes.length, start + 7); at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return { value, end: at + 1 };
    factor *= 0x80;
  }
  return null;
}
