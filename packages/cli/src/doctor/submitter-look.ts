import { type SubmitterSettings, signerSourceOf } from "@quorate/settings";
import { diagnose } from "../commands/submitter-doctor-look.ts";
import {
  check,
  type Diagnosis,
  type DoctorCheck,
  diagnosisOf,
  notChecked,
  type Probe,
  probe,
} from "./check.ts";
import { checkSecretFile } from "./key-file.ts";
import { type CommonLook, lookAtCommon } from "./node-look.ts";
import { askOwnApi, isRefusal } from "./own-api.ts";
import { checkPorts, type Listen, listenProblem } from "./ports.ts";
import { checkProjector, lookAtProjector } from "./projector.ts";
import type { SubmitterWorld } from "./submitter-world.ts";

/** Looks at every part a submitter needs, and changes nothing. */
export async function diagnoseSubmitter(
  world: SubmitterWorld,
  settings: SubmitterSettings,
  file: string | null,
  version: string,
): Promise<Diagnosis> {
  const common = { ...world, etcdHosts: settings.etcd.hosts, version };
  const [secrets, ports, own, look] = await Promise.all([
    secretsOf(settings, file),
    portsOf(settings),
    diagnose(world),
    lookAtCommon(common, null),
  ]);
  const isPostgresUp = own.checks.some(({ name, level }) => name === "postgres" && level === "ok");
  const projector = await projectorCheck(world, look, isPostgresUp);
  return diagnosisOf([
    check("config", "ok", `submitter of ${settings.clusterId}${file === null ? "" : ` (${file})`}`),
    ...secrets,
    ports,
    ...own.checks.flatMap((one) => (one.name === "etcd" ? [look.etcd, look.cluster] : [one])),
    projector,
    look.clock,
    look.versions,
  ]);
}

async function secretsOf(
  settings: SubmitterSettings,
  file: string | null,
): Promise<readonly DoctorCheck[]> {
  const source = signerSourceOf(settings, file);
  switch (source.kind) {
    case "keyFile":
      return [await checkSecretFile("key file", source.file)];
    case "keystore":
      return await Promise.all([
        checkSecretFile("keystore", source.file),
        checkSecretFile("password file", source.passwordFile),
      ]);
    case "remote":
      return source.authorizationFile === undefined
        ? []
        : [await checkSecretFile("authorization file", source.authorizationFile)];
  }
}

async function portsOf({ api, clusterId }: SubmitterSettings): Promise<DoctorCheck> {
  const listen: Listen = { setting: "api.port", ...api };
  const problem = await listenProblem(listen);
  const running = problem === "EADDRINUSE" && (await isSubmitterAt(api, clusterId));
  return checkPorts([{ ...listen, problem }], running);
}

/** Whether what has the port is a submitter of this cluster; one that wants a token is taken for it. */
async function isSubmitterAt(api: SubmitterSettings["api"], clusterId: string): Promise<boolean> {
  const own = await askOwnApi(api);
  if (own === null) return false;
  const isOurs = own.field("clusterId") === clusterId && own.field("leading") !== undefined;
  return isOurs || isRefusal(own);
}

async function projectorCheck(
  world: SubmitterWorld,
  { config }: CommonLook,
  isPostgresUp: boolean,
): Promise<DoctorCheck> {
  if (!config.ok) return notChecked("projector", "the cluster is not known");
  if (!isPostgresUp) return notChecked("projector", "PostgreSQL is not ready");
  const [state, leader] = await Promise.all([
    lookAtProjector(world.tally, world.audit, world.clock),
    leaderOf(world),
  ]);
  return checkProjector(state, leader);
}

async function leaderOf(world: SubmitterWorld): Promise<Probe<string | null>> {
  return await probe(async (signal) => {
    const address = await world.address();
    return await world.etcd.leader(`submitter/${world.chain.chainId}/${address}`, { signal });
  });
}
