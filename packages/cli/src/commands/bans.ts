import { hostname, userInfo } from "node:os";
import { parseNodeId, parsePeerId } from "@quorate/core";
import { type BanList, NodeApiError } from "@quorate/localcluster/client";
import type { Command } from "commander";
import { nodeClientFrom } from "../clients.ts";
import type { CommandContext } from "../context.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import { httpUrl } from "../options.ts";
import { table } from "../render/table.ts";
import { jsonDocument, type Style, type Terminal } from "../terminal.ts";

interface BansOptions {
  readonly node?: string;
  readonly lifted?: true;
  readonly json?: true;
}

interface LiftOptions {
  readonly node?: string;
  readonly reason: string;
  readonly operator: string;
  readonly json?: true;
}

/** `bans` and `ban lift`. */
export function addBanCommands(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("bans")
    .description("who is banned: since when, why, how sure, and the evidence")
    .option("--lifted", "also bans that were ended: by whom, and why")
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate bans
  quorate bans --json | jq -r '.bans[] | select(.grade == "OPINION") | .nodeId'`,
    )
    .action(done((options: BansOptions) => listBans(options, terminal)));
  program
    .command("ban")
    .description("end a ban")
    .command("lift")
    .description("end a ban by opinion (silence, minority); a proven one is permanent")
    .argument("<peer>", "the trustee's peer id or node id")
    .requiredOption("-r, --reason <text>", "why; recorded for ever")
    .option("--operator <name>", "who ends it; recorded for ever", operatorDefault())
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate ban lift trustee-4 --reason "its machine had no power"
  quorate ban lift trustee-4 --reason "maintenance" --operator ada@example.org --json`,
    )
    .action(done((peer: string, options: LiftOptions) => liftBan(peer, options, terminal)));
}

/** `user@host`, as the machine knows them. */
export function operatorDefault(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A container may run under a number that has no name.
    return `uid-${process.getuid?.() ?? "unknown"}@${hostname()}`;
  }
}

async function listBans(options: BansOptions, terminal: Terminal): Promise<number> {
  const client = nodeClientFrom(options.node, process.env);
  const list = await client.bans({ withLifts: options.lifted === true });
  if (options.json === true) terminal.data(jsonDocument(list));
  else terminal.data(renderBans(list, terminal.dataStyle));
  return EXIT.ok;
}

function renderBans({ bans, lifts }: BanList, style: Style): string {
  const banned =
    bans.length === 0
      ? "nobody is banned"
      : table(
          ["TRUSTEE", "SINCE", "REASON", "GRADE", "PEER", "EVIDENCE"],
          bans.map((ban) => [
            ban.nodeId ?? "-",
            ban.bannedAt,
            ban.reason,
            ban.grade === "PROOF" ? style.bad(ban.grade) : style.warn(ban.grade),
            ban.peerId,
            ban.evidenceId ?? "-",
          ]),
          style.dim,
        );
  if (lifts === undefined) return banned;
  const ended =
    lifts.length === 0
      ? "no ban was ended"
      : table(
          ["TRUSTEE", "ENDED", "WAS FOR", "BY", "WHY", "PEER"],
          lifts.map((lift) => [
            lift.nodeId ?? "-",
            lift.liftedAt,
            lift.banReason ?? "-",
            lift.by,
            lift.reason,
            lift.peerId,
          ]),
          style.dim,
        );
  return `${banned}\n\n${ended}`;
}

async function liftBan(
  peer: string,
  { node, reason, operator, json }: LiftOptions,
  terminal: Terminal,
): Promise<number> {
  if (!parsePeerId(peer).ok && !parseNodeId(peer).ok)
    throw usageError(`${JSON.stringify(peer)} is neither a peer id nor a node id`);
  if (reason.trim() === "") throw usageError("--reason must say why");
  if (operator.trim() === "") throw usageError("--operator must say who");
  const client = nodeClientFrom(node, process.env);
  try {
    const lift = await client.liftBan(peer, { reason, operator });
    if (json === true) terminal.data(jsonDocument(lift));
    else
      terminal.data(
        `${lift.nodeId ?? lift.peerId} is no longer banned (for ${lift.banReason ?? "an unknown reason"}); recorded: by ${lift.by}, because: ${lift.reason}`,
      );
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof NodeApiError) || error.code === "UNREACHABLE") throw error;
    throw new CliError(`no ban was lifted (${error.code}): ${error.message}`, { cause: error });
  }
}
