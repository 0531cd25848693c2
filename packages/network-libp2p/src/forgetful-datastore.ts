import type { KadDHTComponents } from "@libp2p/kad-dht";

type Datastore = KadDHTComponents["datastore"];

/**
 * A datastore for the DHT that keeps nothing. The cluster uses the DHT to find peers,
 * never for records; but its protocol lets any peer store records and provider entries,
 * without a bound, in every node's memory.
 */
export function forgetfulDatastore(): Datastore {
  const notFound = (): never => {
    throw Object.assign(new Error("nothing is stored"), { name: "NotFoundError" });
  };
  const datastore: Datastore = {
    put: (key) => key,
    get: notFound,
    has: () => false,
    delete: () => {},
    async *putMany(source) {
      for await (const { key } of source) yield key;
    },
    async *getMany(source) {
      for await (const _key of source) yield notFound();
    },
    async *deleteMany(source) {
      for await (const key of source) yield key;
    },
    batch: () => ({ put: () => {}, delete: () => {}, commit: () => {} }),
    async *query() {},
    async *queryKeys() {},
  };
  return datastore;
}
