import {
  createLocalSigner,
  createRemoteSigner,
  loadKeyFile,
  loadKeystore,
  readSecretFile,
} from "@quorate/chain-evm";
import { assert, assertNever } from "@quorate/core";
import type { AbortOptions, ChainSigner, Clock, Logger } from "@quorate/ports";
import { pathBeside, type SubmitterSettings } from "@quorate/settings";

export interface SubmitterSigner {
  readonly signer: ChainSigner;
  /** Asks a remote signer whether it serves the address; a local one need not be asked. @throws SignerError */
  readonly check: (options?: AbortOptions) => Promise<void>;
}

// A bearer token or a user and a password.
const AUTHORIZATION_BYTES_MAX = 8_192;

/**
 * Opens the key that the settings name. Reads files only; nothing is asked over the network.
 * @throws KeyError; it holds no key, no password and no token.
 */
export async function openSigner(
  settings: Pick<SubmitterSettings, "signer" | "keyFile">,
  file: string | null,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  options: AbortOptions = {},
): Promise<SubmitterSigner> {
  const { signer, keyFile } = settings;
  const at = (path: string): string => pathBeside(file, path);
  const local = (privateKey: string): SubmitterSigner => ({
    signer: createLocalSigner({ privateKey }),
    check: async () => {},
  });
  switch (signer.kind) {
    case "keyFile":
      assert(keyFile !== undefined, "the settings' schema requires keyFile with this kind");
      return local(await loadKeyFile(at(keyFile), options));
    case "keystore": {
      const paths = { file: at(signer.file), passwordFile: at(signer.passwordFile) };
      return local(await loadKeystore(paths, options));
    }
    case "remote": {
      const { url, address, timeoutMs, authorizationFile } = signer;
      const authorization =
        authorizationFile === undefined
          ? undefined
          : (
              await readSecretFile(
                at(authorizationFile),
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
      return assertNever(signer);
  }
}
