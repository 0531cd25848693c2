import { expect, it } from "vitest";
import { BoundedDatastore } from "./bounded-datastore.ts";

type Key = Parameters<BoundedDatastore["get"]>[0];

function store(pinned = new Set<string>()) {
  const datastore = new BoundedDatastore({
    entriesMax: 10,
    isPinned: (key) => pinned.has(key),
  });
  return { datastore, pinned };
}

/** All that is used of a key is its name. */
function keyOf(name: string): Key {
  return Object.assign(Object.create(null), { toString: () => name });
}

const value = Uint8Array.of(1);

it("keeps so many entries, the lately used ones, and pinned ones besides, whatever comes", () => {
  const { datastore } = store(new Set(["/peers/trustee"]));
  datastore.put(keyOf("/peers/trustee"), value);
  datastore.put(keyOf("/peers/used"), value);
  for (let i = 0; i < 3_000; i++) {
    datastore.put(keyOf(`/peers/${i}`), value);
    expect(datastore.get(keyOf("/peers/used"))).toBe(value);
  }
  expect(datastore.size).toBe(11);
  expect(datastore.has(keyOf("/peers/trustee"))).toBe(true);
  expect(datastore.has(keyOf("/peers/2999"))).toBe(true);
  expect(datastore.has(keyOf("/peers/0"))).toBe(false);
  expect(() => datastore.get(keyOf("/peers/0"))).toThrow(
    expect.objectContaining({ name: "NotFoundError" }),
  );
});

it("pins what was there already, and drops the pin of who is none of the known any more", () => {
  const { datastore, pinned } = store();
  datastore.put(keyOf("/peers/new trustee"), value);
  pinned.add("/peers/new trustee");
  datastore.repin();
  for (let i = 0; i < 100; i++) datastore.put(keyOf(`/peers/${i}`), value);
  expect(datastore.has(keyOf("/peers/new trustee"))).toBe(true);
  pinned.clear();
  datastore.repin();
  for (let i = 0; i < 100; i++) datastore.put(keyOf(`/peers/${i}`), value);
  expect(datastore.has(keyOf("/peers/new trustee"))).toBe(false);
  expect(datastore.size).toBe(10);
});

it("answers queries by prefix, filter, order and range, and deletes", async () => {
  const { datastore } = store(new Set(["/peers/c"]));
  for (const name of ["/peers/a", "/peers/b", "/peers/c", "/other/d"])
    datastore.put(keyOf(name), value);
  const names = async (query: Parameters<typeof datastore.queryKeys>[0]): Promise<string[]> => {
    const found: string[] = [];
    for await (const key of datastore.queryKeys(query)) found.push(key.toString());
    return found;
  };
  const orders = [(a: Key, b: Key) => (a.toString() < b.toString() ? (-1 as const) : (1 as const))];
  expect(await names({ prefix: "/peers/", orders })).toEqual(["/peers/a", "/peers/b", "/peers/c"]);
  expect(await names({ prefix: "/peers/", orders, offset: 1, limit: 1 })).toEqual(["/peers/b"]);
  const filters = [(key: Key) => key.toString().endsWith("c")];
  expect(await names({ filters })).toEqual(["/peers/c"]);
  datastore.delete(keyOf("/peers/c"));
  datastore.delete(keyOf("/peers/c"));
  const left: string[] = [];
  for await (const { key } of datastore.query({ prefix: "/peers/" })) left.push(key.toString());
  expect(left.toSorted()).toEqual(["/peers/a", "/peers/b"]);
});
