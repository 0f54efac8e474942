// A certified authorisation server on loopback, for the tests: in front of a server of tools that Tollgate reaches for its users. Clients register
// themselves or are the one below; tokens are for one resource and end soon; refresh tokens are good for one use.
//   node authorization.mjs              prints its issuer URL once it listens
//   POST /control/life SECONDS          (text/plain) how long access tokens live from now on
//   POST /control/forget NAME           (text/plain) takes back whatever that person has permitted
//   POST /control/trust ISSUER          (text/plain) exchanges tokens that this issuer signs for those of the person that they name
//   POST /control/count                 how many tokens it has given for each kind of grant, as JSON
import http from 'node:http';
import * as jose from 'jose';
import Provider from 'oidc-provider';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const SCOPE = 'tools:call';
let life = 3600;
let trusted;
const granted = new Map();
const counted = {};
const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'tollgate', client_secret: 'secret-of-the-gateway', redirect_uris: [], response_types: [],
      grant_types: ['client_credentials', EXCHANGE],
    },
    // The server of tools itself, which asks about tokens that it is shown.
    { client_id: 'tools', client_secret: 'secret-of-the-tools', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
  ],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  scopes: ['openid', 'offline_access', SCOPE],
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async (_, client) => client.clientId === 'tools' },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: async () => true,
      getResourceServerInfo: async (_, resource) => ({ scope: SCOPE, audience: resource, accessTokenTTL: life, accessTokenFormat: 'opaque' }),
    },
  },
  ttl: { AccessToken: () => life, ClientCredentials: () => life },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
});
provider.on('grant.success', ({ oidc }) => {
  const kind = oidc.params.grant_type;
  counted[kind] = (counted[kind] ?? 0) + 1;
  const { Grant, Account } = oidc.entities;
  if (Grant && Account) granted.set(Account.accountId, [...(granted.get(Account.accountId) ?? []), Grant.jti]);
});

// RFC 8693, as far as it is asked here.
provider.registerGrantType(EXCHANGE, async (context) => {
  const { client, params } = context.oidc;
  const refuse = (text) => {
    context.status = 400;
    context.body = { error: 'invalid_grant', error_description: text };
  };
  if (params.subject_token_type !== 'urn:ietf:params:oauth:token-type:jwt') return refuse('not a JWT');
  let subject;
  try {
    const keys = jose.createRemoteJWKSet(new URL(trusted.jwks_uri));
    const verified = await jose.jwtVerify(params.subject_token, keys, { issuer: trusted.issuer, audience: issuer, requiredClaims: ['exp', 'sub'] });
    subject = verified.payload;
  } catch (problem) {
    return refuse(problem.message);
  }
  const token = new provider.AccessToken({ accountId: subject.email ?? subject.sub, client, scope: SCOPE, grantId: 'exchange', gty: 'exchange' });
  token.resourceServer = new provider.ResourceServer(params.resource, { scope: SCOPE, audience: params.resource, accessTokenTTL: life, accessTokenFormat: 'opaque' });
  const grant = new provider.Grant({ accountId: token.accountId, clientId: client.clientId });
  grant.addResourceScope(params.resource, SCOPE);
  token.grantId = await grant.save();
  context.body = {
    access_token: await token.save(), issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer', expires_in: life, scope: SCOPE,
  };
}, ['subject_token', 'subject_token_type', 'requested_token_type', 'resource', 'audience', 'scope'], ['resource', 'audience']);

const control = {
  '/control/life': async (seconds) => { life = Number(seconds); },
  '/control/trust': async (url) => { trusted = await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json(); },
  '/control/forget': async (name) => {
    for (const id of granted.get(name) ?? []) await (await provider.Grant.find(id))?.destroy();
    granted.delete(name);
  },
  '/control/count': async () => counted,
};
const handle = provider.callback();
server.on('request', (request, answer) => {
  const act = control[request.url];
  if (!act) return handle(request, answer);
  let body = '';
  request.on('data', (piece) => { body += piece; });
  request.on('end', async () => {
    try {
      answer.end(`${JSON.stringify(await act(body.trim()) ?? 'ok')}\n`);
    } catch (problem) {
      answer.writeHead(500).end(`${problem}\n`);
    }
  });
});
console.log(issuer);
