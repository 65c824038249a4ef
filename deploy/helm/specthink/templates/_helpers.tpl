{{/* Names, labels, and what all pods have in common. */}}

{{- define "specthink.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "specthink.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "specthink.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the pods of a component. Takes root and component. */}}
{{- define "specthink.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels of a component. Takes root and component. */}}
{{- define "specthink.labels" -}}
{{ include "specthink.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of our programs. Takes root, and image, which may be empty. */}}
{{- define "specthink.image" -}}
{{- $image := .image | default dict -}}
{{- $repository := default .root.Values.image.repository $image.repository -}}
{{- $tag := default (default .root.Chart.AppVersion .root.Values.image.tag) $image.tag -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}

{{/* The common fields of every pod's spec. Takes root and pod, the values of its component. */}}
{{- define "specthink.pod" -}}
serviceAccountName: {{ include "specthink.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  fsGroup: {{ .root.Values.podSecurityContext.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .pod.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The security context of our own containers. */}}
{{- define "specthink.confined" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.podSecurityContext.runAsUser }}
  runAsGroup: {{ .Values.podSecurityContext.runAsGroup }}
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* The name of a component's headless service, which resolves to the addresses of all ready pods. Takes root and
component. */}}
{{- define "specthink.headless" -}}
{{- printf "%s-%s" (include "specthink.fullname" .root) .component -}}
{{- end -}}

{{/* The address of a role's nodes, for the server. Takes root, role and port. Only this template knows how a name with
many addresses is written. */}}
{{- define "specthink.pool" -}}
{{- $host := printf "%s.%s.svc.%s" (include "specthink.headless" (dict "root" .root "component" .role)) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- $scheme := ternary "dns+https" "dns" (eq (include "specthink.hasTls" .root) "true") -}}
{{- printf "%s://%s:%d" $scheme $host (int .port) -}}
{{- end -}}

{{- define "specthink.hasTls" -}}
{{- if ne .Values.tls.mode "none" -}}true{{- end -}}
{{- end -}}

{{/* The secret with the certificate of small, large or serve. Takes root and component. */}}
{{- define "specthink.tlsSecret" -}}
{{- if eq .root.Values.tls.mode "secret" -}}
{{- index .root.Values.tls.secrets .component -}}
{{- else -}}
{{- printf "%s-%s-tls" (include "specthink.fullname" .root) .component -}}
{{- end -}}
{{- end -}}

{{/* Whether a role runs in groups of machines. Takes node, its values. */}}
{{- define "specthink.isGroup" -}}
{{- if and .node.vllm.enabled (gt (int .node.vllm.machines) 1) -}}true{{- end -}}
{{- end -}}

{{/* The GPUs of one pod's vLLM. Takes node. */}}
{{- define "specthink.vllmGpus" -}}
{{- div (mul (int .node.vllm.tensorParallel) (int .node.vllm.pipelineParallel)) (int .node.vllm.machines) -}}
{{- end -}}

{{/* Resources with the number of GPUs added to the limits. Takes resources, gpuResource and gpus. */}}
{{- define "specthink.resources" -}}
{{- $resources := deepCopy (.resources | default dict) -}}
{{- if gt (int .gpus) 0 -}}
{{- $limits := set (deepCopy ($resources.limits | default dict)) .gpuResource (int .gpus) -}}
{{- $resources = set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The nodes' ports: the defaults of the programs. */}}
{{- define "specthink.port" -}}
{{- if eq .role "small" -}}7101{{- else -}}7102{{- end -}}
{{- end -}}
{{- define "specthink.metricsPort" -}}
{{- if eq .role "small" -}}9101{{- else -}}9102{{- end -}}
{{- end -}}
