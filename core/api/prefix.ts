/** Where version 1 of the API is. */
export const API_PREFIX = '/api/v1';
