/** What the requests must look like; whatever else arrives is answered with 400 and the reason. */

/** Most events of one request. */
export const maxEvents = 1024;

/** What no pattern can tell: 30 February looks like a date. */
export const formats = {
  "existing-date": (text: string): boolean => {
    const date = text.slice(0, 10);
    const day = new Date(`${date}T00:00Z`);
    return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date);
  },
};

const properties = {
  departure: {
    type: "string",
    format: "existing-date",
    pattern: "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])T([01]\\d|2[0-3]):[0-5]\\d$",
  },
  origin: { type: "string", pattern: "^[A-Z0-9]{3}$" },
  destination: { type: "string", pattern: "^[A-Z0-9]{3}$" },
  distance: { type: "integer", minimum: 0, maximum: 25_000 },
} as const;

function eventsOf(extra: Readonly<Record<string, object>>) {
  const all = { ...properties, ...extra };
  const event = {
    type: "object",
    properties: all,
    required: Object.keys(all),
    additionalProperties: false,
  };
  return {
    type: "object",
    properties: { events: { type: "array", items: event, minItems: 1, maxItems: maxEvents } },
    required: ["events"],
    additionalProperties: false,
  };
}

export const predictBody = eventsOf({});
export const learnBody = eventsOf({ late: { type: "boolean" } });
