// Lets a test call the IVS API from a page: call(operation, input) resolves to
// {out}, {error} or {unknown}.
import * as sdk from 'SDK';

window.connect = (options) => {
  const client = new sdk.IvsClient({ ...options, maxAttempts: 1 });
  window.call = async (operation, input) => {
    const Command = sdk[operation + 'Command'];
    if (!Command) return { unknown: true };
    try {
      const { $metadata, ...out } = await client.send(new Command(input));
      return { out };
    } catch (e) {
      return { error: e.name };
    }
  };
};
