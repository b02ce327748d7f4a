# Signs a JWT with PyJWT: argv is the private key's file, header and payload are
# the two lines of standard input.
import json
import sys

import jwt

key = open(sys.argv[1]).read()
header, payload = (json.loads(line) for line in sys.stdin)
sys.stdout.write(jwt.encode(payload, key, algorithm=header.pop("alg"), headers=header))
