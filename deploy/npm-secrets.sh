# Sourced by the image's build: points npm and pnpm at the secrets that the build was given, if any.
if [ -f /run/secrets/ca ]; then
  export NODE_EXTRA_CA_CERTS=/run/secrets/ca NPM_CONFIG_CAFILE=/run/secrets/ca
fi
if [ -f /run/secrets/npmrc ]; then
  export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc
fi
