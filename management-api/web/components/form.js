// Forms from a list of fields. What the user wrote is given to `submit` as an object; an error of it is shown in the form,
// and what was written stays.

import { h, uniqueId } from '../core/dom.js';
import { place } from './notice.js';

/**
 * A field: `name`, `label`, `type` (text, password, number, checkbox, select, textarea, json, file, or lines of any other
 * input), `value`, `required`, `hint`, `placeholder`, `options` (texts, or pairs of value and text, of a select),
 * `suggest` (texts to choose from), `min`, `max`, `rows`, `autocomplete`, `wide`.
 */
function control(field, id) {
  const common = {
    id, name: field.name, required: field.required, placeholder: field.placeholder, autocomplete: field.autocomplete ?? 'off',
    'aria-describedby': field.hint ? `${id}-hint` : null, oninput: field.oninput, onchange: field.onchange,
  };
  switch (field.type) {
    case 'select': {
      const options = field.options.map((it) => (Array.isArray(it) ? it : [it, it]));
      return h('select', common, options.map(([value, text]) => h('option', { value, selected: value === field.value }, text)));
    }
    case 'textarea':
    case 'json':
      return h('textarea', { ...common, rows: field.rows ?? 4, value: field.value, spellcheck: 'false', class: 'mono' });
    case 'checkbox':
      return h('input', { ...common, type: 'checkbox', checked: Boolean(field.value) });
    default:
      return h('input', {
        ...common, type: field.type ?? 'text', value: field.type === 'file' ? undefined : field.value ?? '', min: field.min,
        max: field.max, step: field.step, accept: field.accept, list: field.suggest ? `${id}-list` : null,
        spellcheck: 'false', autocapitalize: 'none',
      });
  }
}

function read(field, input) {
  switch (field.type) {
    case 'checkbox': return input.checked;
    case 'file': return input.files[0] ?? null;
    case 'number': return input.value === '' ? null : Number(input.value);
    case 'json': {
      if (input.value.trim() === '') return field.empty ?? {};
      try {
        return JSON.parse(input.value);
      } catch (error) {
        input.focus();
        throw new Error(`${field.label}: this is not JSON (${error.message}).`);
      }
    }
    default: return input.value;
  }
}

/**
 * A form. `submit(values)` may throw; `submitLabel` is on the button, `kind` its look, `extra` are further buttons.
 * Returns `{ element, inputs, values(), notices }`.
 */
export function form({ fields, submit, submitLabel = 'Save', kind = 'primary', extra = [], doing = null, label = null, inline = false }) {
  const inputs = {};
  const notices = place();
  const rows = fields.filter(Boolean).map((field) => {
    if (field instanceof Node) return field;
    const id = uniqueId('field');
    const input = control(field, id);
    inputs[field.name] = input;
    const hint = field.hint && h('p.hint', { id: `${id}-hint` }, field.hint);
    const list = field.suggest && h('datalist', { id: `${id}-list` }, field.suggest.map((value) => h('option', { value })));
    const name = h('label', { for: id }, field.label, field.required && field.type !== 'checkbox' && h('span.required', { title: 'required' }, ' *'));
    const content = field.type === 'checkbox' ? [h('div.check', input, name), hint] : [name, input, hint, list];
    return h('div.field', { class: field.wide || ['textarea', 'json'].includes(field.type) ? 'wide' : '', data: { field: field.name } }, content);
  });
  const values = () => {
    const named = fields.filter((field) => field && !(field instanceof Node));
    return Object.fromEntries(named.map((field) => [field.name, read(field, inputs[field.name])]));
  };
  const send = h('button', { type: 'submit', class: kind }, submitLabel);
  const onsubmit = async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    notices.clear();
    send.disabled = true;
    element.setAttribute('aria-busy', 'true');
    try {
      await submit(values());
    } catch (error) {
      notices.fail(error, doing);
    } finally {
      send.disabled = false;
      element.removeAttribute('aria-busy');
    }
  };
  const element = h('form.form', { onsubmit, class: inline ? 'inline' : '', 'aria-label': label },
    h('div.fields', rows), notices.element, h('div.buttons', send, extra));
  return { element, inputs, values, notices };
}
