{{/*
What an app's chart takes from this one, which is its dependency "sidekey": see ../../example.

  sidekey.sidecar       an entry of initContainers
  sidekey.volumes       entries of volumes
  sidekey.mount         an entry of the app's volumeMounts: its socket is /run/sidekey/sidekey.sock
  sidekey.config        the data of the ConfigMap NAME-sidekey, which the sidecar reads

Each is given the root of the app's chart.
*/}}

{{- define "sidekey.image" -}}
{{ .image.repository }}:{{ .image.tag | default "0.1.0" }}
{{- end }}

{{- define "sidekey.probes" -}}
startupProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 300
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  timeoutSeconds: 2
livenessProbe:
  httpGet:
    path: /livez
    port: {{ . }}
  timeoutSeconds: 2
{{- end }}

{{- define "sidekey.sidecar" -}}
- name: sidekey
  image: {{ include "sidekey.image" .Values.sidekey }}
  imagePullPolicy: {{ .Values.sidekey.image.pullPolicy }}
  args: [serve]
  restartPolicy: Always
  ports:
    - name: sidekey-metrics
      containerPort: 9733
  {{- include "sidekey.probes" "sidekey-metrics" | nindent 2 }}
  securityContext:
    runAsUser: 65532
    runAsGroup: 65532
    runAsNonRoot: true
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  resources:
    {{- toYaml .Values.sidekey.sidecar.resources | nindent 4 }}
  volumeMounts:
    - name: sidekey-run
      mountPath: /run
    - name: sidekey-config
      mountPath: /etc/sidekey
      readOnly: true
{{- end }}

{{- define "sidekey.volumes" -}}
- name: sidekey-run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
- name: sidekey-config
  configMap:
    name: {{ .Release.Name }}-sidekey
{{- end }}

{{- define "sidekey.mount" -}}
- name: sidekey-run
  mountPath: /run/sidekey
  subPath: sidekey
  readOnly: true
{{- end }}

{{- define "sidekey.config" -}}
sidekey.toml: |
  [listen]
  metrics = "0.0.0.0:9733"

  [log]
  json = true

  [limits]
  connections = 512
  {{- with .Values.sidekey.sidecar.config }}

  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
