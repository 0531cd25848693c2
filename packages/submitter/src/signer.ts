import { type OpenedSigner, openSigner as openSource } from "@quorate/chain-evm";
import type { AbortOptions, Clock, Logger } from "@quorate/ports";
import { type SubmitterSettings, signerSourceOf } from "@quorate/settings";

export type SubmitterSigner = OpenedSigner;

/**
 * Opens the key that the settings name. Reads files only; nothing is asked over the network.
 * @throws KeyError; it holds no key, no password and no token.
 */
export function openSigner(
  settings: Pick<SubmitterSettings, "signer" | "keyFile">,
  file: string | null,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  options: AbortOptions = {},
): Promise<SubmitterSigner> {
  return openSource(signerSourceOf(settings, file), dependencies, options);
}
