import { createServer } from "node:http";
import type { SeededRandom } from "@quorate/testkit";
import { privateKeyToAccount } from "viem/accounts";
import { type Hex, isRecord } from "./json-rpc.ts";

/** Share of requests that get no answer, an error, or theirs after the signature was made. */
const NOISE = 0.1;

/** A signing service of the Web3Signer kind, which at times fails or loses what it signed. */
export interface SigningService {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startSigningService(key: Hex, random: SeededRandom): Promise<SigningService> {
  const account = privateKeyToAccount(key);
  const sign = async (request: unknown): Promise<Hex> => {
    const { to, data, gas, nonce, chainId, value, maxFeePerGas, maxPriorityFeePerGas } =
      request as Partial<Record<string, string>>;
    return await account.signTransaction({
      type: "eip1559",
      to: to as Hex,
      data: (data ?? "0x") as Hex,
      gas: BigInt(gas ?? 0),
      nonce: Number(nonce),
      chainId: Number(chainId),
      value: BigInt(value ?? 0),
      maxFeePerGas: BigInt(maxFeePerGas ?? 0),
      maxPriorityFeePerGas: BigInt(maxPriorityFeePerGas ?? 0),
    });
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      void (async () => {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        const { id, method, params } = isRecord(body) ? body : {};
        const isSigning = method === "eth_signTransaction" && Array.isArray(params);
        const result = isSigning ? await sign(params[0]) : [account.address];
        if (isSigning && random.next() < NOISE) {
          if (random.below(2) === 0) response.destroy();
          else response.writeHead(503).end("busy");
          return;
        }
        response
          .writeHead(200, { "content-type": "application/json" })
          .end(JSON.stringify({ jsonrpc: "2.0", id, result }));
      })().catch(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
