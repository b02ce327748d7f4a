// Calls the IVS API with the AWS SDK for JavaScript: a line of JSON {"op", "in"}
// in, a line {"out"}, {"error"} or {"unknown"} out.
const sdk = require(process.argv[2]);
const client = new sdk.IvsClient({ endpoint: process.argv[3], maxAttempts: 1 });

(async () => {
  for await (const line of require('node:readline').createInterface({ input: process.stdin })) {
    const call = JSON.parse(line);
    const Command = sdk[call.op + 'Command'];
    let answer = { unknown: true };
    if (Command) {
      try {
        answer = { out: await client.send(new Command(call.in)) };
      } catch (e) {
        answer = { error: e.name };
      }
    }
    console.log(JSON.stringify(answer));
  }
})();
