import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import {
  Alert,
  AlertRule,
  AlertRuleParams,
  AlertTarget,
  AlertTargetParams,
  PatchAlertRule,
  PutAlertTarget,
} from '../alert-schemas.ts';
import { alertRuleResource, alertTargetResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Resource, Route } from '../route.ts';

export function alertRoutes({ alerts, catalog }: ControlPlane): Route[] {
  const tag = 'alerts';
  const ofRule = ({ rule }: { rule: string }): Resource => alertRuleResource(catalog, rule, alerts.knowsRule(rule));
  const ofTarget = ({ name }: { name: string }): Resource => alertTargetResource(catalog, name);
  return [
    route({
      method: 'get',
      path: '/alerts',
      tag,
      role: 'viewer',
      summary: 'What is wrong now',
      response: z.array(Alert),
      handle: () => alerts.active().map((alert) => ({ ...alert, since: new Date(alert.since).toISOString() })),
    }),
    route({
      method: 'get',
      path: '/alert-rules',
      tag,
      role: 'viewer',
      summary: 'When an alert is raised',
      response: z.array(AlertRule),
      handle: () => alerts.rules(),
    }),
    route({
      method: 'get',
      path: '/alert-rules/:rule',
      tag,
      role: 'viewer',
      summary: 'Show one rule',
      params: AlertRuleParams,
      resource: ofRule,
      problems: ['not-found'],
      response: AlertRule,
      handle: ({ params }) => alerts.rule(params.rule),
    }),
    route({
      method: 'patch',
      path: '/alert-rules/:rule',
      tag,
      role: 'operator',
      summary: 'Switch a rule on or off, or say where it begins',
      params: AlertRuleParams,
      resource: ofRule,
      body: PatchAlertRule,
      response: AlertRule,
      handle: ({ params, body }) => alerts.setRule(params.rule, body),
    }),
    // Where alerts go is for administrators: a target makes the daemon call other machines.
    route({
      method: 'get',
      path: '/alert-targets',
      tag,
      role: 'admin',
      summary: 'Where alerts are sent',
      response: z.array(AlertTarget),
      handle: () => alerts.targets(),
    }),
    route({
      method: 'get',
      path: '/alert-targets/:name',
      tag,
      role: 'admin',
      summary: 'Show one target of alerts',
      params: AlertTargetParams,
      resource: ofTarget,
      response: AlertTarget,
      handle: ({ params }) => alerts.target(params.name),
    }),
    route({
      method: 'put',
      path: '/alert-targets/:name',
      tag,
      role: 'admin',
      summary: 'Make a target of alerts, or replace its settings',
      params: AlertTargetParams,
      resource: ofTarget,
      body: PutAlertTarget,
      response: AlertTarget,
      handle: ({ params, body }) => alerts.put({ name: params.name, ...body }),
    }),
    route({
      method: 'delete',
      path: '/alert-targets/:name',
      tag,
      role: 'admin',
      summary: 'Forget a target of alerts',
      params: AlertTargetParams,
      resource: ofTarget,
      handle: ({ params }) => alerts.remove(params.name),
    }),
    route({
      method: 'post',
      path: '/alert-targets/:name/test',
      tag,
      role: 'admin',
      summary: 'Send a test to a target of alerts, now',
      params: AlertTargetParams,
      response: AlertTarget,
      repeatable: true,
      handle: ({ params }) => alerts.test(params.name),
    }),
  ];
}
