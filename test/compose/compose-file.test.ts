import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ONE_SHOT } from "./container-state.ts";
import { STEPS, TRUSTEES } from "./scenario.ts";

interface Service {
  readonly image: string;
  readonly restart?: string;
  readonly user?: string;
  readonly read_only?: boolean;
  readonly init?: boolean;
  readonly cap_drop?: readonly string[];
  readonly mem_limit?: string;
  readonly stop_grace_period?: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly ports?: readonly string[];
  readonly secrets?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: { readonly test?: readonly string[]; readonly retries?: number };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

const ROOT = resolve(import.meta.dirname, "..", "..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const file: {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
} = parse(read("docker-compose.yml"), { merge: true });
const services = Object.entries(file.services);
const servers = services.filter(([name]) => !ONE_SHOT.some((one) => one === name));
const ours = services.filter(([, { image }]) => image.includes("QUORATE_IMAGE"));
/** Its image holds nothing that could ask. */
const WITHOUT_HEALTH_CHECK = ["jaeger"];

describe("docker-compose.yml", () => {
  it("has every part of the system, five trustees and three members of etcd", () => {
    const names = services.map(([name]) => name);
    expect(names).toEqual(expect.arrayContaining([...TRUSTEES]));
    for (const name of ["etcd-1", "etcd-2", "etcd-3", "postgres", "submitter", "prometheus"])
      expect(names).toContain(name);
  });

  it("lets every image be another one, with the release's own or a fixed version as the default", () => {
    for (const [name, { image }] of services)
      expect(image, name).toMatch(/^\$\{[A-Z]+_IMAGE:-[a-z0-9./-]+:[a-z0-9.-]*\d[a-z0-9.-]*\}$/);
  });

  it("bounds the memory of every container", () => {
    for (const [name, service] of services) expect(service.mem_limit, name).toMatch(/^\d+[mg]$/);
  });

  it("asks every server whether it is well, but for those that have nothing to ask with", () => {
    for (const [name, { healthcheck }] of servers)
      if (WITHOUT_HEALTH_CHECK.includes(name)) expect(healthcheck, name).toBeUndefined();
      else expect(healthcheck?.retries, name).toBe(3);
  });

  it("gives every server thirty seconds to end, and starts it again when it crashes", () => {
    for (const [name, service] of servers) {
      expect(service.stop_grace_period, name).toBe("30s");
      expect(service.restart, name).toBe("unless-stopped");
    }
  });

  it("runs our programs without root, capabilities or a file system to write, under an init", () => {
    for (const [name, service] of [...ours, ["anvil", file.services["anvil"]!] as const]) {
      expect(service.user, name).toMatch(/^\$\{QUORATE_UID:-1000\}/);
      expect(service, name).toMatchObject({ read_only: true, init: true, cap_drop: ["ALL"] });
    }
  });

  it("publishes nothing beyond this machine", () => {
    for (const [name, { ports = [] }] of services)
      for (const port of ports)
        expect(port, name).toMatch(/^127\.0\.0\.1:\$\{[A-Z0-9_]+:-\d+\}:\d+$/);
  });

  it("hands keys, tokens and passwords over as files, never in the environment", () => {
    for (const [name, { environment = {} }] of services)
      for (const [key, value] of Object.entries(environment))
        if (/KEY|TOKEN|PASS/.test(key))
          expect(value, `${name} ${key}`).toMatch(/^\/run\/secrets\//);
    const used = new Set(services.flatMap(([, { secrets = [] }]) => secrets));
    expect([...used].toSorted()).toEqual(Object.keys(file.secrets).toSorted());
  });

  it("gives each trustee its own secrets and volume, and no other's", () => {
    for (const name of TRUSTEES) {
      const { secrets = [], volumes = [] } = file.services[name]!;
      for (const secret of secrets) expect(secret.startsWith(`${name}-`), secret).toBe(true);
      for (const volume of volumes) expect(volume, name).toContain(name);
    }
  });

  it("names a volume for all that must outlive a container, and uses each", () => {
    const used = services
      .flatMap(([, { volumes = [] }]) => volumes)
      .map((volume) => volume.split(":")[0] ?? "")
      .filter((source) => /^[a-z0-9-]+$/.test(source));
    expect([...new Set(used)].toSorted()).toEqual(Object.keys(file.volumes).toSorted());
  });

  it("keeps Prometheus's figures for thirty days and PostgreSQL's log in an archive", () => {
    expect(file.services["prometheus"]?.command).toContain("--storage.tsdb.retention.time=30d");
    expect(file.services["postgres"]?.command).toContain("-carchive_mode=on");
  });

  it("leaves etcd's compaction to the submitter, which knows what is in history", () => {
    for (const name of ["etcd-1", "etcd-2", "etcd-3"])
      expect(file.services[name]?.command?.join(" "), name).not.toContain("auto-compaction");
  });

  it("has Prometheus ask exactly the services that there are", () => {
    const targets = ["nodes", "submitters", "etcd"].flatMap((name) =>
      (
        parse(read(`deploy/prometheus/targets/${name}.yml`)) as readonly {
          readonly targets: readonly string[];
        }[]
      ).flatMap((group) => group.targets),
    );
    const asked = targets.map((target) => target.split(":")[0] ?? "");
    const told = [...TRUSTEES, "submitter", "etcd-1", "etcd-2", "etcd-3"];
    expect(asked.toSorted()).toEqual(told.toSorted());
  });

  it("has a stand-in for every image that is neither ours nor without a package", () => {
    const standins = read("test/compose/standins/Dockerfile");
    const stages = [...standins.matchAll(/^FROM \S+ AS (\w+)$/gm)].map(([, stage]) => stage);
    const images = new Set(services.map(([, { image }]) => /\{([A-Z]+)_IMAGE/.exec(image)?.[1]));
    for (const name of ["QUORATE", "ANVIL", "GRAFANA", "JAEGER"]) images.delete(name);
    expect(stages).toEqual(
      expect.arrayContaining([...images].map((name) => name?.toLowerCase() ?? "")),
    );
  });
});

describe("the run of it", () => {
  it("checks what it says only once under each name", () => {
    expect(new Set(STEPS.map(({ name }) => name)).size).toBe(STEPS.length);
  });
});
