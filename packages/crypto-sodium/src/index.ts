export { createEd25519, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from "./ed25519.ts";
export { createVoteSigner, generateSeed, SEED_BYTES } from "./vote-signer.ts";
