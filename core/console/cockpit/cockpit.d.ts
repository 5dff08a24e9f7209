// The part of cockpit.js that is used here (cockpit-project.org/guide, "cockpit.http" and "cockpit.file").

interface CockpitError {
  readonly problem?: string | null;
  readonly message?: string;
}

interface CockpitRequest extends Promise<string> {
  response(callback: (status: number, headers: Record<string, string>) => void): this;
  stream(callback: (data: string) => void): this;
  close(problem?: string): void;
}

interface CockpitHttp {
  request(options: {
    method: string;
    path: string;
    headers: Readonly<Record<string, string>>;
    body: string;
  }): CockpitRequest;
}

interface CockpitFile {
  /** null: there is no such file. */
  read(): Promise<string | null>;
  close(): void;
}

interface CockpitPermission {
  /** null: not known yet. */
  readonly allowed: boolean | null;
  addEventListener(type: 'changed', listener: () => void): void;
}

interface Cockpit {
  http(options: {
    address: string;
    port: number;
    tls: { authority: { file: string }; validate: boolean };
    superuser: 'try';
  }): CockpitHttp;
  file(path: string, options: { superuser?: 'try' | 'require'; max_read_size: number }): CockpitFile;
  permission(options: { admin: true }): CockpitPermission;
}

declare const cockpit: Cockpit;
