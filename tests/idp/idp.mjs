// A certified OpenID provider on loopback, for the tests: it signs in whoever gives a name, and says of them what it was told.
//   node idp.mjs CALLBACK_URL        prints its issuer URL once it listens
//   POST /control/groups NAME GROUP,GROUP    (text/plain) changes what it says
//   POST /control/disable NAME               (text/plain) knows that person no longer
import http from 'node:http';
import Provider from 'oidc-provider';

const [callback] = process.argv.slice(2);
const groups = new Map();
const disabled = new Set();
const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'tollgate', client_secret: 'a secret: with/odd+characters', redirect_uris: [callback],
    post_logout_redirect_uris: [new URL('/logout', callback).href],
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  }],
  claims: { openid: ['sub', 'groups', 'preferred_username'], email: ['email', 'email_verified'], profile: ['name'] },
  scopes: ['openid', 'offline_access', 'email', 'profile'],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  features: { devInteractions: { enabled: true } },
  findAccount: async (_, id) => disabled.has(id) ? undefined : ({
    accountId: id,
    claims: async () => ({
      sub: id, preferred_username: id, name: `Person ${id}`, email: `${id}@corp.example`, email_verified: true,
      groups: groups.get(id) ?? [],
    }),
  }),
});
const handle = provider.callback();
server.on('request', (request, answer) => {
  if (!request.url.startsWith('/control/')) return handle(request, answer);
  let body = '';
  request.on('data', (piece) => { body += piece; });
  request.on('end', () => {
    const [name, listed] = body.split(' ');
    if (request.url === '/control/disable') disabled.add(name);
    else groups.set(name, listed ? listed.split(',') : []);
    answer.end('ok\n');
  });
});
console.log(issuer);
