/** The port with some methods replaced. Unlike a spread it keeps what lives on a prototype or in private fields. */
export function overriding<Port extends object>(port: Port, methods: Partial<Port>): Port {
  return new Proxy(port, {
    get: (target, property) => {
      const own: unknown = Reflect.get(methods, property);
      if (own !== undefined) return own;
      const member: unknown = Reflect.get(target, property, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}
