/** What each package may import of the others. A package that is not here is refused. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ["core"],
  engine: ["core", "ports"],
  // Adapters: around one vendor family each, never each other, never the engine.
  "chain-evm": ["core", "ports"],
  "crypto-sodium": ["core", "ports"],
  "network-libp2p": ["core", "ports"],
  "store-etcd": ["core", "ports"],
  "store-postgres": ["core", "ports"],
  telemetry: ["core", "ports"],
  settings: ["core", "ports"],
  // The web page: static files, which know the HTTP API only.
  dashboard: [],
  // For tests and local clusters.
  testkit: ["core", "ports"],
  devkit: ["core", "ports"],
  localcluster: [
    "core",
    "ports",
    "chain-evm",
    "crypto-sodium",
    "network-libp2p",
    "store-etcd",
    "store-postgres",
    "telemetry",
    "devkit",
  ],
  // A task over both stores, for an operator's command.
  backup: ["core", "ports", "store-etcd", "store-postgres"],
  // What operators watch. It reads the declarations of all that measures; no app needs it.
  observability: [
    "core",
    "ports",
    "engine",
    "network-libp2p",
    "store-etcd",
    "store-postgres",
    "telemetry",
    "devkit",
    "localcluster",
  ],
  // Apps: anything below them; nothing imports an app.
  node: [
    "core",
    "ports",
    "engine",
    "crypto-sodium",
    "network-libp2p",
    "store-etcd",
    "settings",
    "telemetry",
    "dashboard",
  ],
  submitter: [
    "core",
    "ports",
    "engine",
    "chain-evm",
    "crypto-sodium",
    "store-etcd",
    "store-postgres",
    "settings",
    "telemetry",
    "dashboard",
  ],
  cli: [
    "core",
    "ports",
    "engine",
    "chain-evm",
    "crypto-sodium",
    "network-libp2p",
    "store-etcd",
    "store-postgres",
    "settings",
    "telemetry",
    "devkit",
    "localcluster",
    "backup",
  ],
};

export const APPS: readonly string[] = ["node", "submitter", "cli"];

/** May start apps as processes of their own, and so depend on them without importing them. */
export const LAUNCHERS: readonly string[] = ["cli", "localcluster"];

/** What tests may use besides, of the packages. */
export const TEST_PACKAGES: readonly string[] = ["testkit", "devkit"];

/** Vendors of the packages whose purity is a rule of its own. The others' are what their package.json says. */
export const FIXED_VENDORS: Readonly<Record<string, readonly string[]>> = {
  core: ["@noble/hashes"],
  ports: [],
};

/** Node's own modules: not at all, as types only, or freely (the rest). */
export const NODE_BUILTINS: Readonly<Record<string, "none" | "types">> = {
  core: "none",
  ports: "types",
  engine: "none",
};
