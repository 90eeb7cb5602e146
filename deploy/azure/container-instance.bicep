// A container group with sidekey beside the app.
//
//   az deployment group create --resource-group pay --template-file container-instance.bicep \
//     --parameters identityId=… clientId=… appImage=… sidekeyImage=…
//
// The app's image runs as 1001:65532 (`USER 1001:65532`): the socket's group is 65532, and Container Instances sets no
// groups. The app finds the socket at /run/sidekey/sidekey.sock, and may start before it is there: it tries again.

param name string = 'orders'
param location string = resourceGroup().location

@description('Of the identity: the outputs `id` and `clientId` of identity.bicep.')
param identityId string
param clientId string

param appImage string
param sidekeyImage string

resource group 'Microsoft.ContainerInstance/containerGroups@2023-05-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    osType: 'Linux'
    restartPolicy: 'Always'
    containers: [
      {
        name: 'sidekey'
        properties: {
          image: sidekeyImage
          command: ['/usr/bin/sidekey', 'serve']
          environmentVariables: [
            {
              name: 'SIDEKEY_SOURCE_MANAGED_IDENTITY'
              value: 'true'
            }
            {
              name: 'AZURE_CLIENT_ID'
              value: clientId
            }
          ]
          resources: {
            requests: {
              cpu: json('0.1')
              memoryInGB: json('0.1')
            }
          }
          livenessProbe: {
            httpGet: {
              path: '/livez'
              port: 9733
              scheme: 'http'
            }
            initialDelaySeconds: 5
            periodSeconds: 10
          }
          readinessProbe: {
            httpGet: {
              path: '/readyz'
              port: 9733
              scheme: 'http'
            }
            periodSeconds: 5
          }
          volumeMounts: [
            {
              name: 'run'
              mountPath: '/run'
            }
            {
              name: 'config'
              mountPath: '/etc/sidekey'
              readOnly: true
            }
          ]
        }
      }
      {
        name: 'app'
        properties: {
          image: appImage
          resources: {
            // A group has a processor and 1 GB at least.
            requests: {
              cpu: json('0.9')
              memoryInGB: json('0.9')
            }
          }
          volumeMounts: [
            {
              name: 'run'
              mountPath: '/run'
            }
          ]
        }
      }
    ]
    volumes: [
      {
        name: 'run'
        emptyDir: {}
      }
      {
        name: 'config'
        secret: {
          'sidekey.toml': loadFileAsBase64('sidekey.toml')
        }
      }
    ]
  }
}
