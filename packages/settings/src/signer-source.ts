import { assert } from "@quorate/core";
import { pathBeside } from "./load-settings.ts";
import type { SubmitterSettings } from "./schemas.ts";

/** The settings of a submitter's key with paths that can be opened. @param file the configuration file, which they stand beside */
export function signerSourceOf(
  { signer, keyFile }: Pick<SubmitterSettings, "signer" | "keyFile">,
  file: string | null,
) {
  const at = (path: string): string => pathBeside(file, path);
  switch (signer.kind) {
    case "keyFile":
      assert(keyFile !== undefined, "the settings' schema requires keyFile with this kind");
      return { kind: signer.kind, file: at(keyFile) };
    case "keystore":
      return { kind: signer.kind, file: at(signer.file), passwordFile: at(signer.passwordFile) };
    case "remote": {
      const { authorizationFile, ...rest } = signer;
      return {
        ...rest,
        ...(authorizationFile === undefined ? {} : { authorizationFile: at(authorizationFile) }),
      };
    }
  }
}
