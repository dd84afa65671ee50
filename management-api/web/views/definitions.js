// Definitions: everything that was declared, as a file to keep and to load.

import { request, url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { bytes, count } from '../core/format.js';
import { form } from '../components/form.js';
import { errorNotice, notice } from '../components/notice.js';
import { card, head } from '../components/page.js';

/** The most bytes that the broker takes. */
const LARGEST = 20_000_000;

/** What a file may have, in the order of a sentence. */
const PARTS = [
  ['vhosts', 'virtual host'], ['users', 'user'], ['permissions', 'permission'], ['topic_permissions', 'topic permission'],
  ['policies', 'policy', 'policies'], ['parameters', 'parameter'], ['global_parameters', 'global parameter'],
  ['exchanges', 'exchange'], ['queues', 'queue'], ['bindings', 'binding'],
];

export default {
  path: '/definitions',
  title: 'Definitions',
  menu: 'Definitions',
  group: 'Administration',
  tag: 'administrator',

  async render(ctx) {
    const vhosts = (await ctx.api.get('/vhosts', { query: { columns: 'name' } })).map((it) => it.name);
    return [
      head({ title: 'Definitions', note: 'Users, virtual hosts, permissions, policies, exchanges, queues and bindings. Messages are no part of it.' }),
      h('div.grid', download(vhosts), upload(ctx, vhosts)),
    ];
  },
};

const scopes = (vhosts) => [['', 'everything'], ...vhosts.map((name) => [name, `only virtual host ${name}`])];

function download(vhosts) {
  const link = h('a.button.primary', { download: true }, 'Download');
  const aim = (vhost) => {
    const file = `leveret-${vhost ? `${vhost.replace(/[^\w.-]+/g, '_')}-` : ''}definitions.json`;
    link.href = `/api${vhost ? url`/definitions/${vhost}` : '/definitions'}?${new URLSearchParams({ download: file })}`;
  };
  const select = h('select', { id: 'download-scope', onchange: () => aim(select.value) }, scopes(vhosts).map(([value, text]) => h('option', { value }, text)));
  aim('');
  return card('Download', [
    h('p', 'A JSON file that RabbitMQ understands too. Passwords are in it as hashes: keep it as you keep secrets.'),
    h('div.form', h('div.field', h('label', { for: 'download-scope' }, 'What'), select), h('div.buttons', link)),
  ]);
}

function upload(ctx, vhosts) {
  const summary = h('div', { 'aria-live': 'polite' });
  const done = h('div', { 'aria-live': 'polite' });
  const made = form({
    label: 'Upload definitions',
    doing: 'Nothing was imported.',
    submitLabel: 'Import',
    fields: [
      { name: 'file', label: 'File', type: 'file', accept: '.json,application/json', required: true, wide: true, onchange: () => look() },
      { name: 'vhost', label: 'Into', type: 'select', options: [['', 'where the file says'], ...vhosts.map((name) => [name, `virtual host ${name}`])], wide: true },
    ],
    submit: async ({ file, vhost }) => {
      replace(done);
      if (file.size > LARGEST) throw new Error(`The file has ${bytes(file.size)}; ${bytes(LARGEST)} are the most.`);
      const data = new FormData();
      data.append('file', file);
      await request('POST', vhost ? url`/definitions/${vhost}` : '/definitions', { form: data });
      replace(done, notice('good', `${file.name} was imported.`));
      made.element.reset();
      replace(summary);
    },
  });
  const look = async () => {
    replace(done);
    made.notices.clear();
    const [file] = made.inputs.file.files;
    replace(summary, file && await describe(file));
  };
  return card('Upload', [
    h('p', 'Adds what is not there and changes users, permissions, policies and parameters that are. It deletes nothing, and queues, exchanges and bindings that are there stay as they are. With a fault anywhere nothing is changed.'),
    summary,
    made.element,
    done,
  ]);
}

/** What a file has, or what is wrong with it, before it is sent. */
async function describe(file) {
  try {
    const document = JSON.parse(await file.text());
    const parts = PARTS.filter(([key]) => document[key]?.length).map(([key, one, many]) => count(document[key].length, one, many));
    const from = document.rabbit_version ?? document.rabbitmq_version;
    if (!parts.length) return notice('warning', 'There are no definitions in this file.');
    return notice('info', h('strong', 'In this file: '), parts.join(', '), from && `. Written for RabbitMQ ${from}.`);
  } catch (error) {
    return errorNotice(error, 'This is no JSON file.');
  }
}
