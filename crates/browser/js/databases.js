// Reads the IndexedDB databases of an origin as JSON, and makes them again. Runs in an isolated world of an empty document
// of the origin: scripts of its pages have not run there.
//
// A database is kept as a whole or not at all: one that holds what JSON cannot say, or more than `sizeMax` bytes, is left
// out. Values that JSON has are themselves; others are `{ t: type, v: value }`.
(() => {
  const BATCH = 100;
  const TYPED = { Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array,
    Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView };

  const settled = request => new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  const finished = transaction => new Promise((done, fail) => {
    transaction.oncomplete = () => done();
    transaction.onerror = transaction.onabort = () => fail(transaction.error);
  });

  const toBase64 = bytes => {
    let text = '';
    for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return btoa(text);
  };
  const fromBase64 = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const bytesOf = view => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

  // Blobs are read afterwards: `later` has a promise for each.
  const pack = (value, later, inside = []) => {
    switch (typeof value) {
      case 'string': case 'boolean': return value;
      case 'number': return Number.isFinite(value) && !Object.is(value, -0) ? value : { t: 'number', v: Object.is(value, -0) ? '-0' : String(value) };
      case 'bigint': return { t: 'bigint', v: String(value) };
      case 'undefined': return { t: 'undefined' };
      case 'object': break;
      default: throw new TypeError('not data');
    }
    if (value === null) return null;
    if (inside.includes(value)) throw new TypeError('a cycle');
    const within = [...inside, value];
    const each = item => pack(item, later, within);
    if (Array.isArray(value)) return { t: 'array', v: Array.from(value, each) };
    if (value instanceof Date) return { t: 'date', v: value.getTime() };
    if (value instanceof RegExp) return { t: 'regexp', v: [value.source, value.flags] };
    if (value instanceof Map) return { t: 'map', v: [...value].map(([key, item]) => [each(key), each(item)]) };
    if (value instanceof Set) return { t: 'set', v: [...value].map(each) };
    if (value instanceof ArrayBuffer) return { t: 'buffer', v: toBase64(new Uint8Array(value)) };
    if (ArrayBuffer.isView(value)) return { t: value.constructor.name, v: toBase64(bytesOf(value)) };
    if (value instanceof Blob) {
      const packed = { t: 'blob', v: null, type: value.type };
      if (value instanceof File) Object.assign(packed, { name: value.name, modified: value.lastModified });
      later.push({ size: value.size, read: async () => {
        packed.v = toBase64(new Uint8Array(await value.arrayBuffer()));
      } });
      return packed;
    }
    if (Object.getPrototypeOf(value) !== Object.prototype) throw new TypeError('not plain');
    return { t: 'object', v: Object.entries(value).map(([key, item]) => [key, each(item)]) };
  };

  const unpack = packed => {
    if (packed === null || typeof packed !== 'object') return packed;
    const { t, v } = packed;
    switch (t) {
      case 'number': return Number(v);
      case 'bigint': return BigInt(v);
      case 'undefined': return undefined;
      case 'array': return v.map(unpack);
      case 'date': return new Date(v ?? NaN);
      case 'regexp': return new RegExp(v[0], v[1]);
      case 'map': return new Map(v.map(([key, item]) => [unpack(key), unpack(item)]));
      case 'set': return new Set(v.map(unpack));
      case 'buffer': return fromBase64(v).buffer;
      case 'blob': {
        const options = { type: packed.type, lastModified: packed.modified };
        return packed.name === undefined
          ? new Blob([fromBase64(v)], options) : new File([fromBase64(v)], packed.name, options);
      }
      case 'object': {
        const object = {};
        for (const [key, item] of v) {
          // `__proto__` is a member like any other.
          Object.defineProperty(object, key, { value: unpack(item), enumerable: true, configurable: true, writable: true });
        }
        return object;
      }
      default: return new TYPED[t](fromBase64(v).buffer);
    }
  };

  const readStore = async (database, name, room) => {
    const store = database.transaction(name).objectStore(name);
    const { keyPath, autoIncrement } = store;
    const indexes = [...store.indexNames].map(index => {
      const { keyPath, unique, multiEntry } = store.index(index);
      return { name: index, keyPath, unique, multiEntry };
    });
    const records = [];
    for (let after;;) {
      const range = after === undefined ? null : IDBKeyRange.lowerBound(after, true);
      const reading = database.transaction(name).objectStore(name);
      const [keys, values] = await Promise.all(
        [settled(reading.getAllKeys(range, BATCH)), settled(reading.getAll(range, BATCH))]);
      for (let i = 0; i < keys.length; i++) {
        const later = [];
        const record = [pack(keys[i], later), pack(values[i], later)];
        for (const blob of later) {
          room.left -= blob.size * 4 / 3;
          if (room.left < 0) throw new RangeError('too large');
          await blob.read();
        }
        room.left -= JSON.stringify(record).length;
        if (room.left < 0) throw new RangeError('too large');
        records.push(record);
      }
      if (keys.length < BATCH) return { name, keyPath, autoIncrement, indexes, records };
      after = keys[keys.length - 1];
    }
  };

  const dump = async sizeMax => {
    const dumped = [];
    let size = 0;
    for (const { name, version } of await indexedDB.databases()) {
      const database = await settled(indexedDB.open(name)).catch(() => null);
      if (!database) continue;
      // A page that wants another version must not wait for this.
      database.onversionchange = () => database.close();
      try {
        const room = { left: sizeMax - size };
        const stores = [];
        for (const store of database.objectStoreNames) stores.push(await readStore(database, store, room));
        dumped.push({ name, version, stores });
        size = sizeMax - room.left;
      } catch { /* left out */ }
      database.close();
    }
    return dumped;
  };

  // Whether a database is gone: a page that keeps it open can prevent that.
  const remove = name => new Promise(done => {
    const removing = indexedDB.deleteDatabase(name);
    removing.onsuccess = () => done(true);
    removing.onerror = removing.onblocked = () => done(false);
  });

  // Makes databases in place of those of the same names. How many were made.
  const restore = async databases => {
    let made = 0;
    for (const { name, version, stores } of databases) {
      if (!await remove(name)) continue;
      const opening = indexedDB.open(name, version);
      opening.onupgradeneeded = () => {
        for (const { name, keyPath, autoIncrement, indexes } of stores) {
          const store = opening.result.createObjectStore(name, { keyPath, autoIncrement });
          for (const { name, keyPath, unique, multiEntry } of indexes) {
            store.createIndex(name, keyPath, { unique, multiEntry });
          }
        }
      };
      const database = await settled(opening);
      try {
        for (const { name, keyPath, records } of stores.filter(store => store.records.length > 0)) {
          const writing = database.transaction(name, 'readwrite');
          const store = writing.objectStore(name);
          for (const [key, value] of records) {
            if (keyPath === null) store.put(unpack(value), unpack(key));
            else store.put(unpack(value));
          }
          await finished(writing);
        }
      } finally {
        database.close();
      }
      made++;
    }
    return made;
  };

  return { dump, restore };
})()
