import { assertNever, type EvmAddress } from "@quorate/core";
import type { AbortOptions, ChainSigner, Clock, Logger } from "@quorate/ports";
import { loadKeyFile, readSecretFile } from "./key-file.ts";
import { loadKeystore } from "./keystore.ts";
import { createLocalSigner } from "./local-signer.ts";
import { createRemoteSigner } from "./remote-signer.ts";

/** Where a submitter's key is. Paths are as they are opened. */
export type SignerSource =
  | { readonly kind: "keyFile"; readonly file: string }
  | { readonly kind: "keystore"; readonly file: string; readonly passwordFile: string }
  | {
      readonly kind: "remote";
      readonly url: string;
      readonly address: EvmAddress;
      readonly timeoutMs: number;
      readonly authorizationFile?: string | undefined;
    };

export interface OpenedSigner {
  readonly signer: ChainSigner;
  /** Asks a remote signer whether it serves the address; a local one need not be asked. @throws SignerError */
  readonly check: (options?: AbortOptions) => Promise<void>;
}

// A bearer token or a user and a password.
const AUTHORIZATION_BYTES_MAX = 8_192;

/**
 * Opens the key where it is. Reads files only; nothing is asked over the network.
 * @throws KeyError; it holds no key, no password and no token.
 */
export async function openSigner(
  source: SignerSource,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  options: AbortOptions = {},
): Promise<OpenedSigner> {
  const local = (privateKey: string): OpenedSigner => ({
    signer: createLocalSigner({ privateKey }),
    check: async () => {},
  });
  switch (source.kind) {
    case "keyFile":
      return local(await loadKeyFile(source.file, options));
    case "keystore":
      return local(await loadKeystore(source, options));
    case "remote": {
      const { url, address, timeoutMs, authorizationFile } = source;
      const authorization =
        authorizationFile === undefined
          ? undefined
          : (
              await readSecretFile(
                authorizationFile,
                {
                  what: "authorization file",
                  bytesMax: AUTHORIZATION_BYTES_MAX,
                  holds: "one authorization header",
                },
                options,
              )
            ).trim();
      const remote = createRemoteSigner({ url, address, timeoutMs, authorization }, dependencies);
      return { signer: remote, check: (checkOptions) => remote.check(checkOptions) };
    }
    default:
      return assertNever(source);
  }
}
