import { statfs } from "node:fs/promises";
import type { AbortOptions, Clock, Gauge, Logger, MetricsFactory } from "@quorate/ports";

/** What a process of ours keeps on disk: label values are a closed set, paths are not. */
export const DISK_VOLUMES = ["journal", "accusations"] as const;
export type DiskVolume = (typeof DISK_VOLUMES)[number];

export interface DiskSpace {
  readonly freeBytes: number;
  readonly sizeBytes: number;
}

interface DiskMetrics {
  readonly free: Gauge<"volume">;
  readonly size: Gauge<"volume">;
}

/** Two gauges a volume: what this process may still write there, and what the file system holds at all. */
export function diskMetrics(factory: MetricsFactory): DiskMetrics {
  return {
    free: factory.gauge({
      name: "disk_free_bytes",
      help: "What this process may still write to the file system of one of its data directories; not a number while nobody can tell.",
      labels: ["volume"],
    }),
    size: factory.gauge({
      name: "disk_size_bytes",
      help: "Size of the file system that one of its data directories lies on.",
      labels: ["volume"],
    }),
  };
}

export interface DiskWatchOptions {
  readonly directories: ReadonlyMap<DiskVolume, string>;
}

export interface DiskWatchDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
  /** Reads a file system; the operating system's own by default. */
  readonly read?: (directory: string) => Promise<DiskSpace>;
}

const INTERVAL_MS = 15_000;
/** A network file system that hangs answers never; until it does no further look at it is begun. */
const LOOK_TIMEOUT_MS = 5_000;

/** Looks at the room on disk from time to time, so that a scrape never waits for a disk. It decides nothing. */
export class DiskWatch {
  readonly #directories: ReadonlyMap<DiskVolume, string>;
  readonly #deps: DiskWatchDependencies;
  readonly #metrics: DiskMetrics;
  readonly #hanging = new Set<DiskVolume>();

  constructor({ directories }: DiskWatchOptions, dependencies: DiskWatchDependencies) {
    this.#directories = directories;
    this.#deps = dependencies;
    this.#metrics = diskMetrics(dependencies.metrics);
    // Not 0: nobody has looked yet, and 0 is an alarm.
    for (const volume of directories.keys()) this.#show(volume, null);
  }

  /** Resolves when aborted. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    while (!options.signal.aborted) {
      await this.look(options);
      await this.#deps.clock.sleep(INTERVAL_MS, options).catch(() => {});
    }
  }

  /** Looks once at each. Never rejects. */
  async look(options: AbortOptions = {}): Promise<void> {
    await Promise.all(
      [...this.#directories].map(([volume, directory]) => this.#lookAt(volume, directory, options)),
    );
  }

  async #lookAt(volume: DiskVolume, directory: string, options: AbortOptions): Promise<void> {
    if (this.#hanging.has(volume)) return;
    const { read = readDisk, clock, logger } = this.#deps;
    const over = new AbortController();
    const signal =
      options.signal === undefined ? over.signal : AbortSignal.any([over.signal, options.signal]);
    this.#hanging.add(volume);
    const reading = read(directory).then(
      (space) => {
        this.#hanging.delete(volume);
        return space;
      },
      (error: unknown) => {
        this.#hanging.delete(volume);
        // Before the first start the directory is not there yet.
        logger.debug("the room on a disk can't be read", { volume, error });
        return null;
      },
    );
    const late = clock.sleep(LOOK_TIMEOUT_MS, { signal }).then(
      () => null,
      () => null,
    );
    this.#show(volume, await Promise.race([reading, late]));
    over.abort();
  }

  #show(volume: DiskVolume, space: DiskSpace | null): void {
    this.#metrics.free.set({ volume }, space?.freeBytes ?? Number.NaN);
    this.#metrics.size.set({ volume }, space?.sizeBytes ?? Number.NaN);
  }
}

/** What is free to this process, which is less than what is free to root. */
async function readDisk(directory: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
}
