// One connection: what it is, what goes through it, its channels, and how to close it.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { byteRate, bytes, count, number, time } from '../core/format.js';
import { rangeQuery, rates } from '../core/samples.js';
import { chart } from '../components/chart.js';
import { openForm } from '../components/dialog.js';
import { vhostAddress } from '../components/names.js';
import { badge, notice } from '../components/notice.js';
import { button, card, facts, head } from '../components/page.js';
import { rangePicker } from '../components/range.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';
import { channelColumns } from './channels.js';
import { stateBadge } from './connections.js';

export default {
  path: '/connections/:name',
  title: ({ name }) => name,

  async render(ctx) {
    const { name } = ctx.params;
    const path = url`/connections/${name}`;
    const first = await ctx.api.get(path);
    const state = h('span', stateBadge(first.state));
    const known = h('div');
    const lines = chart({
      title: 'Bytes',
      series: [{ key: 'from', label: 'from the client', color: 1 }, { key: 'to', label: 'to the client', color: 2 }],
      format: byteRate,
      axis: bytes,
      binary: true,
    });
    const ended = h('div');
    const range = rangePicker(ctx, () => watch.refresh());
    const show = (connection) => {
      replace(state, stateBadge(connection.state));
      lines.fill({ from: rates(connection.recv_oct_details), to: rates(connection.send_oct_details) });
      replace(known, description(connection));
    };
    const watch = ctx.live(2, async () => {
      try {
        show(await ctx.api.get(path, { query: rangeQuery(range.value(), 'data_rates') }));
        replace(ended);
      } catch (error) {
        if (error.status !== 404) throw error;
        replace(state, badge('closed', 'bad'));
        if (!ended.firstChild) replace(ended, notice('info', 'This connection has ended. What is shown is the last that was known.'));
      }
    });
    const channels = table({
      ctx,
      label: 'Channels of the connection',
      source: async () => {
        try {
          return await ctx.api.get(`${path}/channels`);
        } catch (error) {
          if (error.status === 404) return [];
          throw error;
        }
      },
      rowKey: (it) => it.name,
      dense: true,
      search: false,
      sort: 'number',
      empty: 'It has no channel.',
      columns: [{ key: 'number', label: 'Channel', sort: 'number', cell: (it) => number(it.number) }, ...channelColumns({ everything: true })],
    });
    return [
      head({
        title: first.user_provided_name || name,
        crumbs: [['Connections', '/connections']],
        badges: [state, first.ssl && badge('TLS', 'accent')],
        actions: [button('Close it', () => close(ctx, first, path), { kind: 'danger' })],
        note: first.user_provided_name ? name : null,
      }),
      ended,
      h('div.stack',
        h('div.split', card('Traffic', lines, { actions: [range.element] }), card('Connection', known)),
        card('Channels', channels),
        card('What the client says of itself', properties(first.client_properties))),
    ];
  },
};

function description(it) {
  const certificate = it.peer_cert_subject;
  return facts([
    ['User', it.user],
    ['Virtual host', h('a', { href: vhostAddress(it.vhost) }, it.vhost)],
    ['From', `${it.peer_host}:${it.peer_port}`],
    ['To', `${it.host}:${it.port}`],
    ['Connected since', time(it.connected_at)],
    ['Login', it.auth_mechanism],
    ['TLS', it.ssl ? [it.ssl_protocol, it.ssl_cipher].filter(Boolean).join(', ') : 'no'],
    certificate && ['Certificate', certificate],
    ['Heartbeat', it.timeout ? `every ${it.timeout} s` : 'none'],
    ['Frames', `at most ${bytes(it.frame_max)}`],
    ['Channels', `${number(it.channels)} of at most ${number(it.channel_max)}`],
    ['Received', bytes(it.recv_oct)],
    ['Sent', bytes(it.send_oct)],
  ]);
}

function properties(given) {
  const text = (value) => {
    if (typeof value !== 'object') return String(value);
    // Capabilities are flags; those that are set say enough.
    const names = Object.entries(value).filter(([, it]) => it === true).map(([name]) => name);
    return names.length ? names.map((it) => it.replaceAll('_', ' ')).join(', ') : JSON.stringify(value);
  };
  const { capabilities, ...others } = given ?? {};
  return facts([...Object.entries(others), ...(capabilities ? [['capabilities', capabilities]] : [])].map(([name, value]) => [name.replaceAll('_', ' '), text(value)]));
}

async function close(ctx, connection, path) {
  const done = await openForm({
    title: 'Close the connection',
    intro: h('div.consequence',
      h('p', 'The connection of user ', h('strong', connection.user), ' and its ', count(connection.channels, 'channel'), ' will be closed.'),
      h('p', 'What was delivered to it and not acknowledged goes back to its queues; its exclusive queues go with their messages. Most clients connect again by themselves.')),
    fields: [{ name: 'reason', label: 'Reason', value: 'Closed via management page', hint: 'The client gets it, and it stands in the log', wide: true }],
    submitLabel: 'Close the connection',
    kind: 'danger',
    doing: 'It was not closed.',
    submit: ({ reason }) => ctx.api.delete(path, { headers: reason ? { 'X-Reason': reason } : {} }),
  });
  if (!done) return;
  toast('Connection closed');
  ctx.navigate('/connections');
}
