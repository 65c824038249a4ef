{{/* The pods of nodes. All templates here take root, role (small or large) and node, the role's values. */}}

{{/* The flags of small-node and large-node. */}}
{{- define "specthink.nodeArgs" -}}
{{- $node := .node -}}
- --listen={{ .root.Values.bind }}:{{ include "specthink.port" . }}
- --metrics={{ .root.Values.bind }}:{{ include "specthink.metricsPort" . }}
{{- if $node.vllm.enabled }}
- --upstream=http://127.0.0.1:8000
- --upstream-kind=vllm
{{- else }}
{{- with $node.model.name }}
- {{ printf "--model=%s" . | quote }}
{{- end }}
{{- with $node.model.file }}
- {{ printf "--file=%s" . | quote }}
{{- end }}
{{- with $node.model.revision }}
- {{ printf "--revision=%s" . | quote }}
{{- end }}
- --device={{ $node.device }}
{{- with $node.dtype }}
- {{ printf "--dtype=%s" . | quote }}
{{- end }}
{{- with int $node.threads }}
- --threads={{ . }}
{{- end }}
{{- with $node.kvMemory }}
- {{ printf "--kv-memory=%s" . | quote }}
{{- end }}
{{- end }}
{{- if $node.offline }}
- --offline
{{- end }}
{{- with int $node.context }}
- --context={{ . }}
{{- end }}
- --max-sessions={{ int $node.maxSessions }}
- --drain={{ int $node.drainSeconds }}s
- --log-format={{ $node.logFormat }}
{{- if include "specthink.hasTls" .root }}
- --tls-cert=/etc/specthink/tls/tls.crt
- --tls-key=/etc/specthink/tls/tls.key
- --tls-client-ca=/etc/specthink/tls/ca.crt
{{- else }}
- --insecure
{{- end }}
{{- if $node.token.secretName }}
- {{ printf "--token-file=/etc/specthink/token/%s" $node.token.key | quote }}
{{- end }}
{{- range $node.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "specthink.hfToken" -}}
{{- if .node.hfToken.secretName }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .node.hfToken.secretName }}
      key: {{ .node.hfToken.key }}
{{- end }}
{{- end -}}

{{/* The arguments of vLLM that are the same on all machines of a group. */}}
{{- define "specthink.vllmArgs" -}}
{{- $vllm := .node.vllm -}}
- {{ .node.model.name | quote }}
{{- with .node.model.revision }}
- {{ printf "--revision=%s" . | quote }}
{{- end }}
- --tensor-parallel-size={{ int $vllm.tensorParallel }}
{{- if gt (int $vllm.pipelineParallel) 1 }}
- --pipeline-parallel-size={{ int $vllm.pipelineParallel }}
{{- end }}
{{- with int .node.context }}
- --max-model-len={{ . }}
{{- end }}
{{- if include "specthink.isGroup" . }}
- --distributed-executor-backend=mp
- --nnodes=$(LWS_GROUP_SIZE)
- --node-rank=$(LWS_WORKER_INDEX)
- --master-addr=$(LWS_LEADER_ADDRESS)
{{- end }}
{{- range $vllm.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The common part of the vLLM container, beside a node and on the other machines of a group. */}}
{{- define "specthink.vllm" -}}
{{- $node := .node -}}
image: {{ printf "%s:%s" $node.vllm.image.repository $node.vllm.image.tag }}
imagePullPolicy: {{ $node.vllm.image.pullPolicy }}
command: [vllm, serve]
env:
  - name: HF_HOME
    value: /models
  # Otherwise vLLM reports to its makers what it runs on.
  - name: VLLM_NO_USAGE_STATS
    value: "1"
  {{- if $node.offline }}
  - name: HF_HUB_OFFLINE
    value: "1"
  {{- end }}
  {{- if include "specthink.isGroup" . }}
  - name: VLLM_HOST_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  {{- end }}
  {{- with include "specthink.hfToken" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $node.vllm.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $node.vllm.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- include "specthink.resources" (dict "resources" $node.vllm.resources "gpuResource" $node.gpuResource "gpus" (include "specthink.vllmGpus" .)) | nindent 2 }}
volumeMounts:
  - name: models
    mountPath: /models
  - name: shm
    mountPath: /dev/shm
{{- end -}}

{{/* The health check of vLLM. vLLM listens on loopback, which the kubelet's own requests cannot reach. */}}
{{- define "specthink.vllmProbe" -}}
exec:
  command:
    - python3
    - -c
    - import urllib.request as r; r.urlopen("http://127.0.0.1:8000/health", timeout=5)
timeoutSeconds: 10
{{- end -}}

{{/* The volumes of a pod, except a claim of its own. */}}
{{- define "specthink.nodeVolumes" -}}
{{- $cache := .node.cache -}}
{{- if eq $cache.type "existingClaim" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ $cache.claimName }}
{{- else if eq $cache.type "hostPath" }}
- name: models
  hostPath:
    path: {{ $cache.path }}
    type: Directory
{{- else if eq $cache.type "emptyDir" }}
- name: models
  emptyDir: {}
{{- end }}
{{- if .node.vllm.enabled }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .node.vllm.sharedMemory }}
{{- end }}
{{- end -}}

{{- define "specthink.volumeClaimTemplates" -}}
{{- if eq .node.cache.type "claimTemplate" -}}
volumeClaimTemplates:
  - metadata:
      name: models
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .node.cache.storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .node.cache.size }}
{{- end -}}
{{- end -}}

{{/* The pod of a node, alone or with vLLM beside it. */}}
{{- define "specthink.nodePod" -}}
{{- $node := .node -}}
{{- $port := include "specthink.port" . | int -}}
{{- $metricsPort := include "specthink.metricsPort" . | int -}}
metadata:
  labels:
    {{- include "specthink.labels" (dict "root" .root "component" .role) | nindent 4 }}
    {{- with $node.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $node.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "specthink.pod" (dict "root" .root "pod" $node) | nindent 2 }}
  # Sessions end by themselves within --drain.
  terminationGracePeriodSeconds: {{ add (int $node.drainSeconds) 15 }}
  {{- if $node.vllm.enabled }}
  # A container that starts before the node and ends after it, so that the node finds the server ready and can drain.
  initContainers:
    - name: vllm
      restartPolicy: Always
      {{- include "specthink.vllm" . | nindent 6 }}
      args:
        {{- include "specthink.vllmArgs" . | nindent 8 }}
        - --host=127.0.0.1
        - --port=8000
        - --enable-prompt-tokens-details
      startupProbe:
        {{- include "specthink.vllmProbe" . | nindent 8 }}
        periodSeconds: 10
        failureThreshold: {{ mul (int $node.startupMinutes) 6 }}
      livenessProbe:
        {{- include "specthink.vllmProbe" . | nindent 8 }}
        periodSeconds: 30
        failureThreshold: 4
  {{- end }}
  containers:
    - name: {{ .role }}-node
      image: {{ include "specthink.image" (dict "root" .root "image" $node.image) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [{{ .role }}-node]
      args:
        {{- include "specthink.nodeArgs" . | nindent 8 }}
      env:
        - name: HF_HOME
          value: /models
        {{- with include "specthink.hfToken" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $node.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- include "specthink.confined" .root | nindent 6 }}
      ports:
        - name: grpc
          containerPort: {{ $port }}
        - name: metrics
          containerPort: {{ $metricsPort }}
      # The metrics port answers before the model is loaded. The node is ready after the download and the load.
      startupProbe:
        httpGet:
          path: /readyz
          port: metrics
        periodSeconds: 10
        timeoutSeconds: 6
        failureThreshold: {{ mul (int $node.startupMinutes) 6 }}
      # Never /readyz: a draining node is not ready, and restarting it would cut answers off.
      livenessProbe:
        httpGet:
          path: /healthz
          port: metrics
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: metrics
        periodSeconds: 5
        timeoutSeconds: 6
        failureThreshold: 2
      resources:
        {{- $gpus := ternary 1 0 (and (eq $node.device "cuda") (not $node.vllm.enabled)) }}
        {{- include "specthink.resources" (dict "resources" $node.resources "gpuResource" $node.gpuResource "gpus" $gpus) | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: models
          mountPath: /models
        {{- if include "specthink.hasTls" .root }}
        - name: tls
          mountPath: /etc/specthink/tls
          readOnly: true
        {{- end }}
        {{- if $node.token.secretName }}
        - name: token
          mountPath: /etc/specthink/token
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- include "specthink.nodeVolumes" . | trim | nindent 4 }}
    {{- if include "specthink.hasTls" .root }}
    # Mounted as a whole, so that a renewed certificate appears in the pod, which reloads it.
    - name: tls
      secret:
        secretName: {{ include "specthink.tlsSecret" (dict "root" .root "component" .role) }}
        defaultMode: 0440
    {{- end }}
    {{- if $node.token.secretName }}
    - name: token
      secret:
        secretName: {{ $node.token.secretName }}
        defaultMode: 0440
    {{- end }}
{{- end -}}

{{/* The pods of a group's other machines: only vLLM, without an address for clients. */}}
{{- define "specthink.workerPod" -}}
{{- $node := .node -}}
metadata:
  labels:
    {{- include "specthink.labels" (dict "root" .root "component" (printf "%s-worker" .role)) | nindent 4 }}
    {{- with $node.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $node.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "specthink.pod" (dict "root" .root "pod" $node) | nindent 2 }}
  # As long as the leader may take to drain.
  terminationGracePeriodSeconds: {{ add (int $node.drainSeconds) 15 }}
  containers:
    - name: vllm
      {{- include "specthink.vllm" . | nindent 6 }}
      args:
        {{- include "specthink.vllmArgs" . | nindent 8 }}
        - --headless
  volumes:
    {{- include "specthink.nodeVolumes" . | trim | nindent 4 }}
{{- end -}}
